"""The emulator's `POST /v1/images/generations`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import Response

from aimlapi_images.emulator.answers import ApiError, image_answer
from aimlapi_images.emulator.pictures import Pictures, picture_of, price_of
from aimlapi_images.emulator.sizes import WAYS
from aimlapi_images.orders import schema
from aimlapi_images.orders.schema_messages import Problem


@attrs.define
class Generations:
    """The endpoint for generations.

    Attributes:
        pictures: The store for generated pictures.
        latency: Seconds that each generation takes, in addition to drawing.
    """

    pictures: Pictures
    latency: float = 0.0

    async def generate(self, request: Request) -> Response:
        """Validate the request as the API does, and respond with the requested number of pictures."""
        body = await _read_body(request)
        request.state.model = body["model"] if isinstance(body.get("model"), str) else None
        refuse(schema.generation_problems(body), body, schema.known_models())
        asked = _with_defaults(body)
        several = [picture_of(asked, number) for number in range(_count(asked))]
        await asyncio.sleep(self.latency)
        response_format = asked.get("response_format", "url")
        entries = [await self.pictures.entry(request, picture, response_format) for picture in several]
        return image_answer(request, entries, asked, round(price_of(asked) * len(entries), 6))


async def _read_body(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ApiError(400, "Body validation error!", [{"message": "Expected a JSON object", "path": []}])
    return body


def refuse(problems: Sequence[Problem], body: Mapping[str, Any], models: Sequence[str]) -> None:
    """Refuse an invalid request as the API does.

    Args:
        problems: The problems found in the fields.
        body: The fields of the request.
        models: The models of the endpoint.

    Raises:
        ApiError: The model is unknown, or there are problems.
    """
    if "model" in body and body["model"] not in models:
        raise ApiError(404, f"There is no model {body['model']!r} for this endpoint.")
    if problems:
        details = [{"message": _wording(problem), "path": problem.field.split(".")} for problem in problems]
        raise ApiError(400, "Body validation error!", details)


def _wording(problem: Problem) -> str:
    """The validation message of the API, if it is documented, or our own."""
    if problem.rule == "enum":
        return f"Invalid enum value. Expected {' | '.join(map(repr, problem.limit))}, received {problem.value!r}"
    return "Required" if problem.rule == "required" else problem.text


def with_defaults(body: Mapping[str, Any], request: schema.Schema) -> dict[str, Any]:
    """Add the defaults of the schema to the fields of a request."""
    fields = request["properties"]
    return {**{name: field["x-api-default"] for name, field in fields.items() if "x-api-default" in field}, **body}


def _with_defaults(body: dict[str, Any]) -> dict[str, Any]:
    asked = with_defaults(body, schema.generation_request(body["model"]))
    if {*WAYS, "aspect_ratio", "resolution"} & body.keys():
        # The default of one size field must not override a size given in another field.
        return {name: value for name, value in asked.items() if name in body or name not in WAYS}
    return asked


def _count(asked: dict[str, Any]) -> int:
    """The number of images requested. Models use one of two names for it."""
    counts = [asked[name] for name in ("n", "num_images") if isinstance(asked.get(name), int)]
    return max(1, *counts) if counts else 1
