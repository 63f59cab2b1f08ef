"""The emulator as an ASGI application: answers as the API does, and draws instead of generating."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
import uuid
from collections import OrderedDict
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import attrs
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aimlapi_images import schema
from aimlapi_images.emulator.painting import Picture, paint

# Pictures are drawn when they are fetched; what is kept for a URL is the request alone.
_PICTURES_KEPT: Final = 10_000
_IMAGES_PATH: Final = "/generations/emulated"
_CREDITS_PER_USD: Final = 2_000_000

# US dollars for a square and for a larger image. Made up, in the order of real prices.
_PRICES: Final = {"low": (0.009, 0.013), "medium": (0.034, 0.050), "high": (0.133, 0.200)}


class ApiError(HTTPException):
    """An error answer, in the API's own words."""

    def __init__(self, status: int, message: str, details: list[dict[str, Any]] | None = None) -> None:
        super().__init__(status, message)
        self.details = details


@attrs.define
class Emulator:
    """The emulated API.

    Attributes:
        api_key: The one key that is accepted; any, if `None`.
        latency: Seconds that a generation takes, beside drawing.
    """

    api_key: str | None = attrs.field(default=None, repr=False)
    latency: float = 0.0
    _pictures: OrderedDict[str, Picture] = attrs.field(factory=OrderedDict, init=False, repr=False)

    async def generate(self, request: Request) -> Response:
        """`POST /v1/images/generations`."""
        self._authenticate(request)
        body = await _read_body(request)
        _validate(body)
        asked = _with_defaults(body)
        picture = _picture(asked)
        await asyncio.sleep(self.latency)
        entry: dict[str, Any] = {"b64_json": None, "url": None, "revised_prompt": None}
        if asked["response_format"] == "b64_json":
            data = await run_in_threadpool(paint, picture)
            entry["b64_json"] = base64.b64encode(data).decode("ascii")
        else:
            entry["url"] = str(request.base_url).rstrip("/") + self._keep(picture)
        usd = _PRICES.get(asked["quality"], _PRICES["medium"])[asked["size"] != "1024x1024"]
        credits_used = round(usd * _CREDITS_PER_USD)
        answer = {
            "created": int(time.time()),
            "background": asked["background"],
            "data": [entry],
            "output_format": asked["output_format"],
            "quality": asked["quality"],
            "size": asked["size"],
            "meta": {"usage": {"credits_used": credits_used, "usd_spent": usd}},
        }
        return JSONResponse(
            answer,
            headers={
                **_correlation(request),
                "x-aimlapi-credits-used": str(credits_used),
                "x-aimlapi-usd-spent": str(usd),
            },
        )

    async def image(self, request: Request) -> Response:
        """An image by its URL; without a key, as from a CDN."""
        picture = self._pictures.get(request.path_params["name"])
        if picture is None:
            raise ApiError(404, "There is no such image, or it has expired.")
        data = await run_in_threadpool(paint, picture)
        return Response(data, media_type=f"image/{picture.output_format}")

    def _keep(self, picture: Picture) -> str:
        """Remember a picture, forget the oldest, and give the path that shows it."""
        digest = hashlib.sha256(repr(attrs.astuple(picture)).encode("utf-8", "backslashreplace")).hexdigest()[:32]
        name = f"{digest}.{picture.output_format}"
        self._pictures[name] = picture
        self._pictures.move_to_end(name)
        if len(self._pictures) > _PICTURES_KEPT:
            self._pictures.popitem(last=False)
        return f"{_IMAGES_PATH}/{name}"

    def _authenticate(self, request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip() or (self.api_key is not None and key != self.api_key):
            raise ApiError(401, "This request requires a valid API key. You can create one in your account settings.")


def create_app(*, api_key: str | None = None, latency: float = 0.0) -> Starlette:
    """The emulator as an ASGI application.

    Args:
        api_key: The one key that is accepted; any, if `None`.
        latency: Seconds that a generation takes, beside drawing.
    """
    emulator = Emulator(api_key=api_key, latency=latency)
    return Starlette(
        routes=[
            Route(schema.GENERATIONS_PATH, emulator.generate, methods=["POST"]),
            Route(schema.GENERATIONS_PATH.removeprefix("/v1"), emulator.generate, methods=["POST"]),
            Route(_IMAGES_PATH + "/{name}", emulator.image, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _error},
    )


async def _error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for these alone
    body: dict[str, Any] = {
        "message": error.detail or HTTPStatus(error.status_code).phrase,
        "path": request.url.path,
        "requestId": str(uuid.uuid4()),
        "statusCode": error.status_code,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if isinstance(error, ApiError) and error.details:
        body["meta"] = error.details
    return JSONResponse(body, status_code=error.status_code, headers={**_correlation(request), **(error.headers or {})})


def _correlation(request: Request) -> dict[str, str]:
    headers = {"x-inference-id": str(uuid.uuid4())}
    sent = request.headers.get("x-client-request-id")
    # As the API does: an id that breaks the rules is dropped, and nothing is said of it.
    if sent is not None and not schema.request_id_problems(sent):
        headers["x-client-request-id"] = sent
    return headers


async def _read_body(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ApiError(400, "Body validation error!", [{"message": "Expected a JSON object", "path": []}])
    return body


def _validate(body: dict[str, Any]) -> None:
    problems = schema.generation_problems(body)
    if any(problem.field == "model" and problem.rule == "enum" for problem in problems):
        raise ApiError(404, f"There is no model {body['model']!r} for this endpoint.")
    if problems:
        details = [{"message": _wording(problem), "path": problem.field.split(".")} for problem in problems]
        raise ApiError(400, "Body validation error!", details)


def _wording(problem: schema.Problem) -> str:
    """A validation message as the API writes it, where one is documented."""
    if problem.rule == "enum":
        return f"Invalid enum value. Expected {' | '.join(map(repr, problem.limit))}, received {problem.value!r}"
    return "Required" if problem.rule == "required" else problem.text


def _with_defaults(body: dict[str, Any]) -> dict[str, Any]:
    fields = schema.generation_request()["properties"]
    return {**{name: field["x-api-default"] for name, field in fields.items() if "x-api-default" in field}, **body}


def _picture(asked: dict[str, Any]) -> Picture:
    width, height = map(int, asked["size"].split("x"))
    return Picture(
        prompt=asked["prompt"],
        width=width,
        height=height,
        quality=asked["quality"],
        output_format=asked["output_format"],
        compression=asked["output_compression"],
        transparent=asked["background"] == "transparent",
    )
