"""The ASGI application of the emulator."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from aimlapi_images.emulator.account_endpoints import AccountEndpoints
from aimlapi_images.emulator.answers import ApiError, error_answer
from aimlapi_images.emulator.edit_form import read_edit
from aimlapi_images.emulator.generation_body import read_generation
from aimlapi_images.emulator.image_host import IMAGES_PATH, ImageHost
from aimlapi_images.emulator.live_page import PREVIEW_PATH, LivePage
from aimlapi_images.emulator.order_endpoint import OrderEndpoint
from aimlapi_images.emulator.settings import Settings
from aimlapi_images.emulator.state import State
from aimlapi_images.orders import schema

Endpoint = Callable[[Request], Awaitable[Response]]

_logger = logging.getLogger("aimlapi_images.emulator")


def create_app(*, state: State | None = None, **settings: Any) -> Starlette:
    """Create the ASGI application. It draws pictures instead of generating images.

    Args:
        state: The state of the emulator; a new one with the settings if `None`.
        **settings: See `Settings`, such as `latency=26, time_scale=100, faults={"rate_limited": 0.1}`.

    Raises:
        TypeError: There is no such setting.
        InvalidRequestError: The value of a setting is not valid.
    """
    state = state or State(Settings(**settings))
    account, images, page = AccountEndpoints(state), ImageHost(state), LivePage(state)
    generate, edit = OrderEndpoint(state, read_generation), OrderEndpoint(state, read_edit)
    orders = [(schema.GENERATIONS_PATH, generate), (schema.EDITS_PATH, edit)]
    guarded: list[tuple[str, Endpoint, str]] = [
        *((path, endpoint, "POST") for path, endpoint in orders),
        *((path.removeprefix("/v1"), endpoint, "POST") for path, endpoint in orders),
        ("/v2/billing", account.billing, "GET"),
        ("/v2/logs", account.logs, "GET"),
    ]
    free: list[tuple[str, Endpoint, str]] = [
        ("/", page.show, "GET"),
        ("/_emulator/stats", page.stats, "GET"),
        ("/_emulator/reset", page.reset, "POST"),
        (PREVIEW_PATH + "/{name}", images.preview, "GET"),
    ]
    routes = [
        *(_route(path, _on_api(_for_a_key(each, state), state), method) for path, each, method in guarded),
        *(_route(path, _on_api(each, state), method) for path, each, method in free),
        _route(IMAGES_PATH + "/{name}", _on_image_host(images.image, state), "GET"),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _api_error})
    app.add_middleware(_Outermost)
    app.state.emulator = state
    return app


def state_of(app: ASGIApp) -> State:
    """The state of an application made by `create_app`.

    Raises:
        TypeError: It is another application.
    """
    state = getattr(getattr(app, "state", None), "emulator", None)
    if not isinstance(state, State):
        raise TypeError("this application was not made by create_app(), so that it has no settings and no counters")
    return state


def _route(path: str, endpoint: Endpoint, method: str) -> Route:
    # Starlette takes an object that is not a function for an ASGI application.
    async def handle(request: Request) -> Response:
        return await endpoint(request)

    return Route(path, handle, methods=[method])


def _for_a_key(endpoint: Endpoint, state: State) -> Endpoint:
    """Wrap an endpoint so that it requires the key."""

    async def guarded(request: Request) -> Response:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        expected = state.settings.api_key
        wrong = expected is not None and not hmac.compare_digest(key.encode(), expected.encode())
        if scheme.lower() != "bearer" or not key.strip() or wrong:
            raise ApiError(401, "This request requires a valid API key. You can create one in your account settings.")
        return await endpoint(request)

    return guarded


def _on_api(endpoint: Endpoint, state: State) -> Endpoint:
    """Hide an endpoint on the image host's port, if that has one of its own."""

    async def on_api(request: Request) -> Response:
        if state.image_port is not None and request.scope["server"][1] == state.image_port:
            raise ApiError(404, "This is the image host, which has images only.")
        return await endpoint(request)

    return on_api


def _on_image_host(endpoint: Endpoint, state: State) -> Endpoint:
    """Hide an endpoint on the API's port, if the image host has one of its own."""

    async def on_image_host(request: Request) -> Response:
        if state.image_port not in (None, request.scope["server"][1]):
            raise ApiError(404, "Images are on another port: that of their URLs.")
        return await endpoint(request)

    return on_image_host


async def _api_error(request: Request, error: Exception) -> Response:
    return error_answer(request, cast(HTTPException, error))  # registered for these alone


class _Outermost:
    """Answers unexpected errors in the API's form, and is quiet when a client leaves."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            pass
        except Exception:
            _logger.exception("unexpected error in the emulator at %s", scope.get("path"))
            if started:
                raise
            request = Request(scope, receive)
            message = "The emulator has a defect. Its log has the traceback."
            await error_answer(request, ApiError(500, message))(scope, receive, send)
