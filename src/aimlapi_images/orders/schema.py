"""Request schemas: fields, limits, validation and its messages, from the JSON Schema files of the generated client."""

import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from aimlapi_images.media.json_values import shown

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

Schema = Mapping[str, Any]
Endpoint = Literal["generations", "edits"]  # of `/v1/images`

GENERATIONS_PATH, EDITS_PATH = "/v1/images/generations", "/v1/images/edits"
# Fields that make the API answer with a stream of events, which this client does not read. They are refused.
STREAMING: Final = ("stream", "partial_images")
_LONGEST_MESSAGE: Final = 200


@attrs.frozen
class Problem:
    """One way in which a value breaks its schema."""

    field: str  # dotted if it is nested, and empty for the request as a whole
    rule: str  # the JSON Schema keyword, such as `maxLength`
    limit: Any  # the value of that keyword
    value: Any
    text: str  # begins with the field's name


def load() -> None:
    """Load what validation needs: importing jsonschema takes longer than a thousand validations."""
    problems("generations", {})
    request_id_problems("")


@cache
def request(endpoint: Endpoint, model: str | None = None) -> Schema:
    """The schema of a request's fields, apart from files; that of the default model if the model is not described."""
    requests = _requests(endpoint)
    return next((each for each in requests if model in _models(each)), requests[0])


@cache
def models(endpoint: Endpoint) -> tuple[str, ...]:
    """The models that the schema describes, the default first. Requests for others are sent unchecked."""
    return tuple(model for each in _requests(endpoint) for model in _models(each))


def problems(endpoint: Endpoint, fields: Mapping[str, Any]) -> list[Problem]:
    """Validate the fields of a request, apart from files, against the schema of its model."""
    model = fields.get("model")
    return _problems(endpoint, fields, model if model in models(endpoint) else None)


def request_id_problems(request_id: str) -> list[Problem]:
    """Validate a client request id. The API silently drops an invalid one."""
    return _problems("request_id", request_id)


@attrs.frozen
class FileRules:
    """Limits for a file field of a form: number of files, bytes of each, and formats such as `png`."""

    at_most: int
    max_bytes: int
    formats: tuple[str, ...]


@cache
def edit_files(name: str) -> FileRules:
    """The limits for the file field `image[]` or `mask` of an edit request."""
    rules = _read("edits")["files"][name]
    formats = tuple(each.removeprefix("image/") for each in rules["media_types"])
    return FileRules(rules["max_files"], rules["max_bytes"], formats)


def field_type(field: Schema) -> str | None:
    """The type of a field, apart from null; `None` if it may have several types."""
    kinds = field.get("type", ())
    others = [kind for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind != "null"]
    return others[0] if len(others) == 1 else None


def field_values(field: Schema) -> list[Any]:
    """The values of an enumerated field, apart from null; empty if any value is allowed."""
    return [value for value in field.get("enum", ()) if value is not None]


def _requests(endpoint: Endpoint) -> list[Schema]:
    found = _read(endpoint)
    return found if isinstance(found, list) else [found["fields"]]


def _models(request: Schema) -> tuple[str, ...]:
    return tuple(field_values(request["properties"].get("model", {})))


@cache
def _read(name: str) -> Any:
    """The content of `aimlapi_rest/schemas/{name}.json`."""
    from importlib.resources import files

    spec = importlib.util.find_spec("aimlapi_rest")
    if spec is None:
        raise ModuleNotFoundError("aimlapi_rest is missing: it is installed together with aimlapi_images")
    # A module that is not executed: importing the package would load httpx, which the command's help does without.
    package = importlib.util.module_from_spec(spec)
    return json.loads((files(package) / "schemas" / f"{name}.json").read_text(encoding="utf-8"))


@cache
def _validator(name: str, model: str | None) -> "Validator":
    # Imported late: it takes longer than importing the rest of this package.
    from jsonschema import Draft202012Validator, validators

    # JSON Schema counts 1.0 as an integer, but it would be sent as "1.0".
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    kind: type[Validator] = validators.extend(Draft202012Validator, type_checker=types)  # type: ignore[no-untyped-call]
    return kind(request(name, model) if name in ("generations", "edits") else _read(name))


def _problems(name: str, value: Any, model: str | None = None) -> list[Problem]:
    return [describe(error) for error in _validator(name, model).iter_errors(value)]


def describe(error: "ValidationError") -> Problem:
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
