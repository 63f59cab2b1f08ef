"""What is wrong with a request, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from jsonschema import ValidationError


@attrs.frozen
class Problem:
    """One way in which a value does not follow its schema.

    Attributes:
        field: The field's name, dotted where it is nested; empty for the request as a whole.
        rule: The JSON Schema keyword that was broken, as `enum` or `maxLength`.
        limit: The keyword's value in the schema.
        value: What was given.
        text: The problem in words, beginning with the field's name.
    """

    field: str
    rule: str
    limit: Any
    value: Any
    text: str


def describe(error: ValidationError) -> Problem:
    """A validator's finding as a problem."""
    branches: dict[Any, list[ValidationError]] = {}
    for below in error.context or ():
        branches.setdefault(below.schema_path[0], []).append(below)
    # Of several things that a value may be, one has the right type: what is wrong there is to the point.
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
    text = " ".join(filter(None, [field, next(_wordings(rule, limit, value))]))
    return Problem(field=field, rule=rule, limit=limit, value=value, text=text)


def _wordings(rule: str, limit: Any, value: Any) -> Iterator[str]:
    """The wordings that fit, best first."""
    shown = _show(value)
    if isinstance(value, str) and not value.strip() and rule in ("minLength", "pattern"):
        yield "is empty"
    match rule:
        case "enum":
            choice = f"one of {', '.join(map(_show, limit))}" if len(limit) > 1 else _show(limit[0])
            yield f"is {shown}, and has to be {choice}"
        case "maxLength":
            yield f"has {len(value):,} characters, and may have at most {limit:,}"
        case "minLength":
            yield f"has {len(value):,} characters, and needs at least {limit:,}"
        case "maximum" if value == limit:  # exclusive
            yield f"is {shown}, and has to be less than {limit}"
        case "minimum" if value == limit:
            yield f"is {shown}, and has to be more than {limit}"
        case "maximum":
            yield f"is {shown}, and may be at most {limit}"
        case "minimum":
            yield f"is {shown}, and has to be at least {limit}"
        case "type":
            kinds = limit if isinstance(limit, list) else [limit]
            yield f"is {shown}, and has to be {' or '.join(_ARTICLES.get(kind, str(kind)) for kind in kinds)}"
        case "anyOf" | "oneOf":
            yield f"is {shown}, and has to be {' or '.join(map(_kind, limit))}"
        case "minItems":
            yield f"has {len(value):,} entries, and needs at least {limit:,}"
        case "maxItems":
            yield f"has {len(value):,} entries, and may have at most {limit:,}"
        case "required":
            yield "is missing"
        case "pattern":
            yield f"is {shown}, which does not match {limit}"
        case "not" if "description" in limit:
            yield str(limit["description"])
    yield f"is {shown}, which breaks the schema's rule {rule}: {_show(limit)}"


def _kind(schema: Mapping[str, Any]) -> str:
    """One of several that a value may be, in words."""
    if "enum" in schema:
        return f"one of {', '.join(map(_show, schema['enum']))}"
    words: str = _ARTICLES.get(schema.get("type", ""), "something else")
    return f"{words} with {', '.join(schema['properties'])}" if schema.get("properties") else words


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


_ARTICLES = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
