"""Validation of requests, by the schema that the client uses."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from aimlapi_images.emulator.answers import ApiError
from aimlapi_images.media.json_values import shown
from aimlapi_images.orders import schema
from aimlapi_images.orders.schema import Problem


def body_error(message: str, path: Sequence[str] = ()) -> ApiError:
    """An error about a field of the body."""
    return ApiError(400, "Body validation error!", [{"message": message, "path": list(path)}])


def check(problems: Sequence[Problem], body: Mapping[str, Any], request: schema.Schema, models: Sequence[str]) -> None:
    """Refuse an invalid request as the API does, and one with fields that the model lacks.

    Args:
        problems: The problems found in the fields.
        body: The fields of the request.
        request: The schema of the request.
        models: The models of the endpoint.

    Raises:
        ApiError: The model is unknown, or there are problems.
    """
    if isinstance(body.get("model"), str) and body["model"] not in models:
        raise ApiError(404, f"There is no model {shown(body['model'])} for this endpoint.")
    details = [{"message": _wording(problem), "path": problem.field.split(".")} for problem in problems]
    for name in body:
        if name not in request["properties"]:
            message = "Streaming is not supported" if name == "stream" else f"Unrecognized key in object: {shown(name)}"
            details.append({"message": message, "path": [name]})
    if details:
        raise ApiError(400, "Body validation error!", details)


def _wording(problem: Problem) -> str:
    """The validation message of the API, if it is documented, or our own."""
    if problem.rule == "enum":
        return f"Invalid enum value. Expected {' | '.join(map(repr, problem.limit))}, received {shown(problem.value)}"
    return "Required" if problem.rule == "required" else problem.text


def with_integers(body: Mapping[str, Any], request: schema.Schema) -> dict[str, Any]:
    """Read `1.0` as 1 in integer fields, as JSON Schema does.

    The client's validation refuses `1.0`, so that it is never sent.
    """
    return {name: _integer(value, request["properties"].get(name, {})) for name, value in body.items()}


def _integer(value: Any, field: schema.Schema) -> Any:
    if schema.field_type(field) != "integer":
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def form_integer(text: str) -> int | str:
    """The integer that the text of a form field is, or the text."""
    digits = text.removeprefix("-")
    # Python converts no more digits than this, and no integer field is that large.
    short = len(digits) <= sys.int_info.str_digits_check_threshold
    return int(text) if digits.isascii() and digits.isdigit() and short else text


def with_defaults(body: Mapping[str, Any], request: schema.Schema) -> dict[str, Any]:
    """Add the defaults of the schema to the fields of a request."""
    fields = request["properties"]
    return {**{name: field["x-api-default"] for name, field in fields.items() if "x-api-default" in field}, **body}
