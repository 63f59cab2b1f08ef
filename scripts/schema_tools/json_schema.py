"""Plain JSON Schema (draft 2020-12) for each request, so that validation needs no OpenAPI."""

from __future__ import annotations

from typing import Any, Final

import attrs

from schema_tools import Document, SchemaError
from schema_tools.normalize import GENERATIONS, follow

EDITS: Final = "/v1/images/edits"
REQUEST_ID: Final = "x-client-request-id"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_NULL: Final = {"type": "null"}
_TYPES: Final = ("boolean", "object", "array", "number", "string")
_COPIED: Final = {
    *("type", "enum", "required", "pattern", "format", "multipleOf", "uniqueItems", "minimum", "maximum"),
    *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
    *("title", "description", "deprecated", "x-api-default"),
}


def request_schemas(document: Document) -> dict[str, Any]:
    """Build the contents of the files in `aimlapi_rest/schemas/`, by name without `.json`.

    `generations` is a list with one schema for each request body; the first is for the default model. `edits` has
    the schema of the text `fields`, and limits for each of the `files`: their number, size in bytes and media
    types. `request_id` is the schema of a client request id. A request that is not described has no file.
    """
    found: dict[str, Any] = {}
    generate, edit = (_operation(document, path) for path in (GENERATIONS, EDITS))
    if body := _content(generate, "application/json").get("schema"):
        body = follow(document, body["$ref"]) if "$ref" in body else body
        found["generations"] = [to_json_schema(each, document) for each in body.get("oneOf", [body])]
    if "encoding" in (form := _content(edit, "multipart/form-data")):
        found["edits"] = _form(form, document)
    for parameter in generate.get("parameters", []):
        if parameter["name"].lower() == REQUEST_ID:
            found["request_id"] = to_json_schema(parameter["schema"], document)
    return found


def _operation(document: Document, path: str) -> Document:
    operation: Document = document["paths"].get(path, {}).get("post", {})
    return operation


def _content(operation: Document, media_type: str) -> Document:
    content: Document = operation.get("requestBody", {}).get("content", {}).get(media_type, {})
    return content


def _form(form: Document, document: Document) -> Document:
    """Split a form into its text fields and its files, which have an encoding."""
    schema = to_json_schema(form["schema"], document)
    encoding = form["encoding"]
    fields = {name: field for name, field in schema["properties"].items() if name not in encoding}
    required = [name for name in schema.get("required", []) if name in fields]
    files = {}
    for name, rules in encoding.items():
        field = schema["properties"][name]
        if "maxLength" not in field.get("items", field):
            raise SchemaError(f"POST {EDITS}: the file {name} needs a maxLength, its largest size in bytes")
        files[name] = {
            "max_files": field.get("maxItems", 1),
            "max_bytes": field.get("items", field)["maxLength"],
            "media_types": [each.strip() for each in rules["contentType"].split(",")],
        }
    schema.pop("oneOf", None)  # alternatives of files
    return {"fields": {**schema, "properties": fields, "required": required}, "files": files}


def to_json_schema(schema: Document, document: Document) -> Document:
    """Translate an OpenAPI 3.0 schema to JSON Schema.

    References are resolved, except for recursive ones, which lead to `$defs`. `nullable` becomes a type, boolean
    `exclusiveMinimum` and `exclusiveMaximum` become numbers, and keywords that only OpenAPI has are dropped.
    `description` and the annotation `x-api-default` are kept.

    Args:
        schema: Any schema of the document.
        document: The OpenAPI document that references lead to.
    """
    translation = _Translation(document)
    plain = {"$schema": _DIALECT, **translation.translate(schema, ())}
    return {**plain, "$defs": translation.definitions} if translation.definitions else plain


@attrs.define
class _Translation:
    document: Document
    definitions: Document = attrs.field(factory=dict)
    _recursive: set[str] = attrs.field(factory=set)

    def translate(self, schema: Document, trail: tuple[str, ...]) -> Document:
        """Translate one schema and everything in it; `trail` holds the references that led here."""
        if "$ref" in schema:
            return self._resolve(schema["$ref"], trail)
        plain: Document = {}
        for keyword, value in schema.items():
            match keyword:
                case "properties":
                    plain[keyword] = {name: self.translate(field, trail) for name, field in value.items()}
                case "items" | "not":
                    plain[keyword] = self.translate(value, trail)
                case "additionalProperties":
                    plain[keyword] = self.translate(value, trail) if isinstance(value, dict) else value
                case "allOf" | "anyOf" | "oneOf":
                    plain[keyword] = [self.translate(each, trail) for each in value]
                case _ if keyword in _COPIED:
                    plain[keyword] = value
        for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if schema.get(exclusive) is True and bound in plain:
                plain[exclusive] = plain.pop(bound)
        return _allow_null(plain) if schema.get("nullable") is True else plain

    def _resolve(self, reference: str, trail: tuple[str, ...]) -> Document:
        name = reference.rpartition("/")[2]
        link = {"$ref": f"#/$defs/{name}"}
        if reference in trail:
            self._recursive.add(reference)
        if reference in self._recursive:
            return link
        plain = self.translate(follow(self.document, reference), (*trail, reference))
        if reference not in self._recursive:
            return plain
        self.definitions[name] = plain
        return link


def _allow_null(schema: Document) -> Document:
    """The schema, with every keyword that rejects null changed to accept it."""
    if "$ref" in schema:
        return {"anyOf": [schema, _NULL]}
    widened = dict(schema)
    for keyword, value in schema.items():
        match keyword:
            case "type":
                widened[keyword] = [value, "null"] if isinstance(value, str) else value
            case "enum":
                widened[keyword] = value if None in value else [*value, None]
            case "allOf":
                widened[keyword] = [_allow_null(each) for each in value]
            case "anyOf":
                allowed = any("null" in each.get("type", ()) for each in value)
                widened[keyword] = value if allowed else [*value, _NULL]
            case "oneOf":
                # Exactly one branch has to accept null.
                widened[keyword] = [*map(_forbid_null, value), _NULL]
            case "not":
                widened[keyword] = _forbid_null(value)
    return widened


def _forbid_null(schema: Document) -> Document:
    types = schema.get("type", _TYPES)
    allowed = [types] if isinstance(types, str) else [each for each in types if each != "null"]
    return {**schema, "type": allowed[0] if len(allowed) == 1 else allowed}
