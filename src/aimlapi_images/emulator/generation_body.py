"""What a request to `POST /v1/images/generations` asks for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
from starlette.requests import Request
from starlette.types import Message

from aimlapi_images.emulator.answers import ApiError
from aimlapi_images.emulator.drawing.picture import Picture
from aimlapi_images.emulator.picture_fields import WAYS, picture_of, price_of
from aimlapi_images.emulator.settings import Settings
from aimlapi_images.emulator.validation import body_error, check, with_defaults, with_integers
from aimlapi_images.orders import schema

# A prompt has at most 32,000 characters; images in the bodies of other models are larger.
_MAX_BODY: Final = 64 * 2**20


@attrs.frozen
class Asked:
    """A valid request for images.

    Attributes:
        fields: The fields of the request, including defaults.
        pictures: One for each image.
        usd: The price in US dollars.
        make: Returns what the image host keeps for each picture: the picture itself, to be drawn when it is fetched,
            or an encoded image.
    """

    fields: Mapping[str, Any]
    pictures: list[Picture]
    usd: float
    make: Callable[[Sequence[Picture]], Awaitable[list[Picture | bytes]]]

    @property
    def prompt(self) -> str:
        """The prompt, or the model's name."""
        return self.pictures[0].prompt


@asynccontextmanager
async def read_generation(request: Request, settings: Settings) -> AsyncIterator[Asked]:
    """Validate the body as the API does.

    Raises:
        ApiError: It is not valid.
    """
    body = _parse(await limited(request, _MAX_BODY).body())
    request.state.model = model = body["model"] if isinstance(body.get("model"), str) else None
    described = schema.request("generations", model)
    body = with_integers(body, described)
    check(schema.problems("generations", body), body, described, schema.models("generations"))
    fields = _with_defaults(body, described)
    pictures = [picture_of(fields, number, plain=settings.drawing == "plain") for number in range(_count(fields))]

    async def make(pictures: Sequence[Picture]) -> list[Picture | bytes]:
        return [*pictures]

    yield Asked(fields, pictures, round(price_of(fields) * len(pictures), 6), make)


def limited(request: Request, max_bytes: int) -> Request:
    """The request, whose body raises an `ApiError` while it is read if it is larger than this."""
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > max_bytes:
            headers = {"connection": "close"}
            raise ApiError(413, f"The body has more than the allowed {max_bytes:,} bytes.", headers=headers)
        return message

    return Request(request.scope, receive)


def _parse(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise body_error("Expected a JSON object")
    return body


def _with_defaults(body: dict[str, Any], described: schema.Schema) -> dict[str, Any]:
    asked = with_defaults(body, described)
    if {*WAYS, "aspect_ratio", "resolution"} & body.keys():
        # The default of one size field must not override a size given in another field.
        return {name: value for name, value in asked.items() if name in body or name not in WAYS}
    return asked


def _count(asked: Mapping[str, Any]) -> int:
    """The number of images requested. Models use one of two names for it."""
    counts = [asked[name] for name in ("n", "num_images") if isinstance(asked.get(name), int)]
    return max(1, *counts) if counts else 1
