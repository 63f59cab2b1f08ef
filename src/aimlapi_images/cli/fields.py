"""Options of a command, generated from the fields of a schema."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

import click

from aimlapi_images.orders.schema import field_type, field_values


class JsonText(click.ParamType[Any]):
    """Text, or JSON if it begins like a list or an object."""

    name = "text or json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            self.fail(f"{value!r} is not JSON: {error}", param, ctx)


def field_options(request: Mapping[str, Any], *, without: Collection[str]) -> list[click.Parameter]:
    """Create one option for each field of a request.

    Args:
        request: The schema of the request.
        without: Fields that the command has its own arguments for.
    """
    fields: Mapping[str, Any] = request["properties"]
    return [
        click.Option([f"--{name.replace('_', '-')}", name], type=option_type(field), help=_help(field))
        for name, field in fields.items()
        if name not in without
    ]


def option_type(field: Mapping[str, Any]) -> click.ParamType[Any]:
    """The click type that parses and checks the text of an option."""
    if values := field_values(field):
        return click.Choice(sorted(values, key=_numbers))
    match field_type(field):
        case "integer":
            return click.IntRange(**bounds) if (bounds := _bounds(field)) else click.INT
        case "number":
            return click.FloatRange(**bounds) if (bounds := _bounds(field)) else click.FLOAT
        case "boolean":
            return click.BOOL
        case "string":
            return click.STRING
    return JsonText() if {"type", "anyOf", "oneOf"} & field.keys() else click.STRING


def _numbers(value: object) -> list[float]:
    """The numbers of a value such as `1024x768` or `2K`, to sort by; none if it begins with a word, such as `auto`."""
    text = str(value)
    return [float(each) for each in re.findall(r"\d+(?:\.\d+)?", text)] if text[:1].isdigit() else []


def _bounds(field: Mapping[str, Any]) -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    for side, inclusive, exclusive in (("min", "minimum", "exclusiveMinimum"), ("max", "maximum", "exclusiveMaximum")):
        if field.get(inclusive) is not None:
            bounds[side] = field[inclusive]
        elif field.get(exclusive) is not None:
            bounds |= {side: field[exclusive], f"{side}_open": True}
    return bounds


def named_value(text: str) -> tuple[str, Any]:
    """Parse `NAME=VALUE`; the value may be JSON.

    Raises:
        click.BadParameter: The name is missing.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _help(field: Mapping[str, Any]) -> str:
    words = " ".join(str(field.get("description", "")).split())
    return f"{words} [the API's default: {field['x-api-default']}]" if "x-api-default" in field else words
