"""The ASGI application of the emulator."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aimlapi_images.emulator.account import Account, Endpoint
from aimlapi_images.emulator.answers import ApiError, error_answer
from aimlapi_images.emulator.edits import EDITED_PATH, Edits
from aimlapi_images.emulator.generations import Generations
from aimlapi_images.emulator.pictures import IMAGES_PATH, Pictures
from aimlapi_images.orders import schema


def create_app(*, api_key: str | None = None, latency: float = 0.0, balance: float = 1_000_000.0) -> Starlette:
    """Create the ASGI application. It draws pictures instead of generating images.

    Args:
        api_key: The only key that is accepted; any key if `None`.
        latency: Seconds that each generation takes, in addition to drawing.
        balance: The balance in US dollars. Once it is spent, requests are refused with status 403.
    """
    pictures, edits, account = Pictures(), Edits(latency), Account(balance)
    generate = _for_a_key(account.charged(Generations(pictures, latency).generate), api_key)
    edit = _for_a_key(account.charged(edits.edit), api_key)
    return Starlette(
        routes=[
            Route(schema.GENERATIONS_PATH, generate, methods=["POST"]),
            Route(schema.GENERATIONS_PATH.removeprefix("/v1"), generate, methods=["POST"]),
            Route(schema.EDITS_PATH, edit, methods=["POST"]),
            Route(schema.EDITS_PATH.removeprefix("/v1"), edit, methods=["POST"]),
            Route(EDITED_PATH + "/{name}", edits.image, methods=["GET"]),
            Route(IMAGES_PATH + "/{name}", pictures.image, methods=["GET"]),
            Route("/v2/billing", _for_a_key(account.billing, api_key), methods=["GET"]),
            Route("/v2/logs", _for_a_key(account.logs, api_key), methods=["GET"]),
        ],
        exception_handlers={HTTPException: error_answer},
    )


def _for_a_key(endpoint: Endpoint, api_key: str | None) -> Endpoint:
    """Wrap an endpoint so that it requires the key."""

    async def guarded(request: Request) -> Response:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip() or (api_key is not None and key != api_key):
            raise ApiError(401, "This request requires a valid API key. You can create one in your account settings.")
        return await endpoint(request)

    return guarded
