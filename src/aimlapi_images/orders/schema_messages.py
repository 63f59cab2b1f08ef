"""Messages for values that break their schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from jsonschema import ValidationError

_LONGEST_MESSAGE: Final = 200


@attrs.frozen
class Problem:
    """One way in which a value breaks its schema.

    The field's name is dotted if it is nested, and empty for the request as a whole. The rule is the JSON Schema
    keyword, such as `maxLength`, and the limit is its value. The text begins with the field's name.
    """

    field: str
    rule: str
    limit: Any
    value: Any
    text: str


def describe(error: ValidationError) -> Problem:
    """Turn an error of the validator into a problem."""
    branches: dict[Any, list[ValidationError]] = {}
    for below in error.context or ():
        branches.setdefault(below.schema_path[0], []).append(below)
    # If exactly one of the alternatives has the right type, report what is wrong there.
    fitting = [each for each in branches.values() if not any(e.validator == "type" and not e.path for e in each)]
    if len(fitting) == 1 and error.validator != "not":
        return describe(fitting[0][0])
    field = ".".join(map(str, error.absolute_path))
    rule = str(error.validator)
    limit: Any = error.validator_value
    value: Any = error.instance
    if rule == "required":
        missing = next(name for name in limit if name not in value and error.message.startswith(repr(name)))
        field = ".".join(filter(None, [field, missing]))
    text = " ".join(filter(None, [field, _message(rule, limit, value, error.message)]))
    return Problem(field, rule, limit, value, text)


def _message(rule: str, limit: Any, value: Any, default: str) -> str:
    """The message for a broken rule, without the name of the field. `default` may hold a whole prompt or image."""
    match rule:
        case "minLength" | "pattern" if isinstance(value, str) and not value.strip():
            return "is empty"
        case "enum" | "type":
            return f"must be {_kind({rule: limit})}, not {shown(value)}"
        case "anyOf" | "oneOf":
            return f"must be {' or '.join(map(_kind, limit))}, not {shown(value)}"
        case "required":
            return "is missing"
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            return f"must be {_BOUNDS[rule]} {limit}, not {shown(value)}"
        case "minLength" | "maxLength" | "minItems" | "maxItems":
            unit = "characters" if rule.endswith("Length") else "entries"
            return f"must have {_BOUNDS[rule[:3]]} {limit:,} {unit}, not {len(value):,}"
        case "not" if "description" in limit:
            return str(limit["description"])
    if len(default) <= _LONGEST_MESSAGE:
        return f"is wrong: {default}"
    return f"is {shown(value)}, which breaks the rule {rule}: {shown(limit)}"


def _kind(schema: Mapping[str, Any]) -> str:
    """What a schema allows, in words."""
    if values := schema.get("enum"):
        return ("one of " if len(values) > 1 else "") + ", ".join(map(shown, values))
    kinds = schema.get("type", "")
    words = " or ".join(_TYPES.get(kind, str(kind)) for kind in ([kinds] if isinstance(kinds, str) else kinds))
    words = words or "something else"
    return f"{words} with {', '.join(schema['properties'])}" if schema.get("properties") else words


def shown(value: object) -> str:
    """A value in a message, of at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


_BOUNDS: Final = {
    **dict.fromkeys(("min", "minimum"), "at least"),
    **dict.fromkeys(("max", "maximum"), "at most"),
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
}
_TYPES: Final = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
