"""The corrected schema as the source of limits: what a request may hold, and in what words it is refused."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from aimlapi_images.orders.schema_messages import Problem, describe

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

Schema = Mapping[str, Any]

GENERATIONS_PATH: Final = "/v1/images/generations"
EDITS_PATH: Final = "/v1/images/edits"


@cache
def document() -> Schema:
    """The corrected OpenAPI document that the low-level client was generated from."""
    # Found, not imported: the command's help reads the schema, and need not load the HTTP client for it.
    package = importlib.util.find_spec("aimlapi_rest")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("aimlapi_rest is missing: it is installed together with aimlapi_images")
    schema: Schema = json.loads(Path(package.origin).with_name("openapi.json").read_text(encoding="utf-8"))
    return schema


def is_loaded() -> bool:
    """Whether checks are quick: the first one loads a library, and takes as long as a thousand others."""
    return _generation_validator.cache_info().currsize > 0


def load() -> None:
    """Load what checks need. Blocks; call it off the event loop."""
    _generation_validator(None)
    _request_id_validator()


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
    return [describe(error) for error in _generation_validator(known).iter_errors(body)]


def request_id_problems(request_id: str) -> list[Problem]:
    """What is wrong with a client request id. The API drops a wrong one in silence."""
    return [describe(error) for error in _request_id_validator().iter_errors(request_id)]


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
    return [describe(error) for error in _edit_validator().iter_errors(fields)]


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
