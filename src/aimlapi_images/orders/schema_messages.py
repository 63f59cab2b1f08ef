"""Messages for values that break their schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from jsonschema import ValidationError

_LONGEST_VALUE: Final = 80
_LONGEST_MESSAGE: Final = 200


@attrs.frozen
class Problem:
    """One way in which a value breaks its schema.

    Attributes:
        field: The name of the field, dotted if it is nested; empty for the request as a whole.
        rule: The JSON Schema keyword, such as `enum` or `maxLength`.
        limit: The value of the keyword in the schema.
        value: The value that was given.
        text: The message, which begins with the name of the field. Long values are cut.
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
    return Problem(field=field, rule=rule, limit=limit, value=value, text=text)


def _message(rule: str, limit: Any, value: Any, default: str) -> str:
    """The message for a broken rule, without the name of the field.

    The messages of jsonschema contain the whole value, which may be a prompt or an image, and name types as
    JSON Schema does. They are used for rules that are not listed here, if they are short.
    """
    given = shown(value)
    match rule:
        case "minLength" | "pattern" if isinstance(value, str) and not value.strip():
            return "is empty"
        case "enum":
            return f"must be {_choice(limit)}, not {given}"
        case "type":
            return f"must be {_kind({'type': limit})}, not {given}"
        case "anyOf" | "oneOf":
            return f"must be {' or '.join(map(_kind, limit))}, not {given}"
        case "required":
            return "is missing"
        case "minimum":
            return f"must be at least {limit}, not {given}"
        case "maximum":
            return f"must be at most {limit}, not {given}"
        case "exclusiveMinimum":
            return f"must be more than {limit}, not {given}"
        case "exclusiveMaximum":
            return f"must be less than {limit}, not {given}"
        case "minLength":
            return f"must have at least {limit:,} characters, not {len(value):,}"
        case "maxLength":
            return f"must have at most {limit:,} characters, not {len(value):,}"
        case "minItems":
            return f"must have at least {limit:,} entries, not {len(value):,}"
        case "maxItems":
            return f"must have at most {limit:,} entries, not {len(value):,}"
        case "pattern":
            return f"is {given}, which does not match {limit}"
        case "not" if "description" in limit:
            return str(limit["description"])
    if len(default) <= _LONGEST_MESSAGE:
        return f"is wrong: {default}"
    return f"is {given}, which breaks the rule {rule}: {shown(limit)}"


def _kind(schema: Mapping[str, Any]) -> str:
    """What a schema allows, in words."""
    if "enum" in schema:
        return _choice(schema["enum"])
    kinds = schema.get("type", "")
    words = " or ".join(_TYPES.get(kind, str(kind)) for kind in ([kinds] if isinstance(kinds, str) else kinds))
    words = words or "something else"
    return f"{words} with {', '.join(schema['properties'])}" if schema.get("properties") else words


def _choice(values: list[Any]) -> str:
    return f"one of {', '.join(map(shown, values))}" if len(values) > 1 else shown(values[0])


def shown(value: object) -> str:
    """A value in a message, of at most 80 characters."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


_TYPES: Final = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
