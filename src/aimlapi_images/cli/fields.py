"""The schema's fields as options of a command, in the schema's own words and values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import click


def field_options(request: Mapping[str, Any], *, without: Collection[str]) -> list[click.Parameter]:
    """One option for each field of a request's schema.

    Args:
        request: The schema of the request's body.
        without: Fields that the command has arguments of its own for.
    """
    fields: Mapping[str, Any] = request["properties"]
    return [
        click.Option([f"--{name.replace('_', '-')}", name], type=option_type(field), help=_help(field))
        for name, field in fields.items()
        if name not in without
    ]


def format_asked_by(output: Path | None, request: Mapping[str, Any]) -> dict[str, str]:
    """`-o fox.jpg` asks for a JPEG, where the request's schema has that format and no option says otherwise."""
    from aimlapi_images.formats import format_of

    name = output and format_of(output)
    known = request["properties"].get("output_format", {}).get("enum", ())
    return {"output_format": name} if name and name in known else {}


def option_type(field: Mapping[str, Any]) -> click.ParamType[Any]:
    """What click is to make of an option's text."""
    match field:
        case {"enum": values}:
            return click.Choice(values)
        case {"type": "integer"}:
            return click.IntRange(field.get("minimum"), field.get("maximum"))
        case {"type": "number"}:
            return click.FloatRange(field.get("minimum"), field.get("maximum"))
        case {"type": "boolean"}:
            return click.BOOL
    return click.STRING


def _help(field: Mapping[str, Any]) -> str:
    words = " ".join(str(field.get("description", "")).split())
    return f"{words} [the API's default: {field['x-api-default']}]" if "x-api-default" in field else words
