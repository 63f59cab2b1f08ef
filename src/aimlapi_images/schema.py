"""The corrected schema as the source of limits: what a request may hold, and in what words it is refused."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

Schema = Mapping[str, Any]

GENERATIONS_PATH: Final = "/v1/images/generations"
EDITS_PATH: Final = "/v1/images/edits"


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


@cache
def document() -> Schema:
    """The corrected OpenAPI document that the low-level client was generated from."""
    # Found, not imported: the command's help reads the schema, and need not load the HTTP client for it.
    package = importlib.util.find_spec("aimlapi_rest")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("aimlapi_rest is missing: it is installed together with aimlapi_images")
    schema: Schema = json.loads(Path(package.origin).with_name("openapi.json").read_text(encoding="utf-8"))
    return schema


@cache
def generation_request(model: str | None = None) -> Schema:
    """The schema of the JSON body of `POST /v1/images/generations`.

    Args:
        model: For which model; the one that the client is named for, if `None` or not described.
    """
    body = document()["paths"][GENERATIONS_PATH]["post"]["requestBody"]["content"]["application/json"]["schema"]
    # Several models: one request of several, told apart by the model.
    reference = body.get("discriminator", {}).get("mapping", {}).get(model)
    first = body["oneOf"][0] if "oneOf" in body else body
    return _resolve(first if reference is None else {"$ref": reference})


@cache
def known_models() -> tuple[str, ...]:
    """The models that the schema describes. Requests for others are sent unchecked."""
    body = document()["paths"][GENERATIONS_PATH]["post"]["requestBody"]["content"]["application/json"]["schema"]
    requests = [_resolve(each) for each in body.get("oneOf", [body])]
    return tuple(model for each in requests for model in each["properties"].get("model", {}).get("enum", ()))


@cache
def all_fields() -> frozenset[str]:
    """The fields that a generation request has for one model or another."""
    return frozenset(name for model in (None, *known_models()) for name in generation_request(model)["properties"])


def generation_problems(body: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the body of a generation request, by its model's schema; nothing if it may be sent."""
    model = body.get("model")
    known = model if isinstance(model, str) and model in known_models() else None
    return [_describe(error) for error in _generation_validator(known).iter_errors(body)]


def request_id_problems(request_id: str) -> list[Problem]:
    """What is wrong with a client request id. The API drops a wrong one in silence."""
    return [_describe(error) for error in _request_id_validator().iter_errors(request_id)]


@attrs.frozen
class FileRules:
    """What a file field of a form may hold.

    Attributes:
        at_most: How many files.
        max_bytes: How large each may be.
        formats: Of which formats, as `png`.
    """

    at_most: int
    max_bytes: int
    formats: tuple[str, ...]


def edit_request() -> Schema:
    """The schema of the text fields of `POST /v1/images/edits`: of all but the files."""
    whole = _resolve(_edit_form()["schema"])
    fields = {name: field for name, field in whole["properties"].items() if name not in _edit_form()["encoding"]}
    return {**whole, "properties": fields, "required": [name for name in whole["required"] if name in fields]}


def edit_models() -> tuple[str, ...]:
    """The models whose edits the schema describes. Requests for others are sent unchecked."""
    return tuple(edit_request()["properties"]["model"].get("enum", ()))


def edit_problems(fields: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the text fields of an edit request; nothing if they may be sent."""
    return [_describe(error) for error in _edit_validator().iter_errors(fields)]


@cache
def edit_files(name: str) -> FileRules:
    """What may be sent as the files `image[]` or `mask` of an edit request."""
    field = _resolve(_edit_form()["schema"])["properties"][name]
    media_types = _edit_form()["encoding"][name]["contentType"].split(",")
    return FileRules(
        at_most=field.get("maxItems", 1),
        max_bytes=field.get("items", field)["maxLength"],
        formats=tuple(each.strip().removeprefix("image/") for each in media_types),
    )


def _edit_form() -> Schema:
    form: Schema = document()["paths"][EDITS_PATH]["post"]["requestBody"]["content"]["multipart/form-data"]
    return form


@cache
def _edit_validator() -> Validator:
    return _validator({**edit_request(), "components": document()["components"]})


@cache
def _generation_validator(model: str | None) -> Validator:
    return _validator({**generation_request(model), "components": document()["components"]})


@cache
def _request_id_validator() -> Validator:
    parameters = document()["paths"][GENERATIONS_PATH]["post"]["parameters"]
    return _validator(next(each for each in parameters if each["name"] == "X-Client-Request-Id")["schema"])


def _validator(schema: Schema) -> Validator:
    # Imported late: it takes longer than the rest of this package together.
    from jsonschema import Draft4Validator  # OpenAPI 3.0 is closest to draft 4

    return Draft4Validator(_with_null(schema))


def _with_null(node: Any) -> Any:
    """The schema in the words of draft 4, which has no `nullable`."""
    if isinstance(node, list):
        return [_with_null(each) for each in node]
    if not isinstance(node, Mapping):
        return node
    plain = {name: _with_null(value) for name, value in node.items()}
    if plain.get("nullable") is not True:
        return plain
    if "enum" in plain:
        plain["enum"] = [*plain["enum"], None]
    if "type" in plain:
        plain["type"] = [plain["type"], "null"]
    return {"anyOf": [{"type": "null"}, plain]} if {"anyOf", "oneOf", "allOf", "not"} & plain.keys() else plain


def _resolve(schema: Schema) -> Schema:
    while "$ref" in schema:
        target: Any = document()
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        schema = target
    return schema


def _describe(error: ValidationError) -> Problem:
    branches: dict[Any, list[ValidationError]] = {}
    for below in error.context or ():
        branches.setdefault(below.schema_path[0], []).append(below)
    # Of several things that a value may be, one has the right type: what is wrong there is to the point.
    fitting = [each for each in branches.values() if not any(e.validator == "type" and not e.path for e in each)]
    if len(fitting) == 1 and error.validator != "not":
        return _describe(fitting[0][0])
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
            yield f"is {shown}, and has to be one of {', '.join(map(_show, limit))}"
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


def _kind(schema: Schema) -> str:
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
