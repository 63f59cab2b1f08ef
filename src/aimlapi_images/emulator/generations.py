"""The emulator's `POST /v1/images/generations`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import Response

from aimlapi_images import schema
from aimlapi_images.emulator.answers import ApiError, image_answer
from aimlapi_images.emulator.pictures import Pictures, picture_of, price_of


@attrs.define
class Generations:
    """Attributes:
    pictures: Where what is generated goes.
    latency: Seconds that a generation takes, beside drawing.
    """

    pictures: Pictures
    latency: float = 0.0

    async def generate(self, request: Request) -> Response:
        """Check the request as the API does, and answer with a picture."""
        body = await _read_body(request)
        request.state.model = body.get("model")
        refuse(schema.generation_problems(body), body)
        asked = with_defaults(body, schema.generation_request())
        picture = picture_of(asked)
        await asyncio.sleep(self.latency)
        entry = await self.pictures.entry(request, picture, asked["response_format"])
        return image_answer(request, [entry], asked, price_of(asked))


async def _read_body(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ApiError(400, "Body validation error!", [{"message": "Expected a JSON object", "path": []}])
    return body


def refuse(problems: Sequence[schema.Problem], body: Mapping[str, Any]) -> None:
    """Answer to what is wrong with a request as the API does.

    Raises:
        ApiError: Something is.
    """
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


def with_defaults(body: Mapping[str, Any], request: schema.Schema) -> dict[str, Any]:
    """A request's fields, and the schema's defaults for those that are not given."""
    fields = request["properties"]
    return {**{name: field["x-api-default"] for name, field in fields.items() if "x-api-default" in field}, **body}
