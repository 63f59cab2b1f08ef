"""Translating OpenAPI 3.0 schemas to JSON Schema, and the schema files beside the generated client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from conftest import ROOT
from published import PATH
from schema_tools import SchemaError
from schema_tools.document import build_document
from schema_tools.json_schema import EDITS, request_schemas, to_json_schema

COMPONENTS: dict[str, Any] = {
    "components": {
        "schemas": {
            "Size": {"type": "string", "enum": ["small", "large"]},
            "Tree": {"type": "object", "properties": {"child": {"$ref": "#/components/schemas/Tree"}}},
            "Even": {"properties": {"next": {"$ref": "#/components/schemas/Odd"}}},
            "Odd": {"required": ["next"], "properties": {"next": {"$ref": "#/components/schemas/Even"}}},
        }
    }
}
SIZE = {"$ref": "#/components/schemas/Size"}
TREE = {"$ref": "#/components/schemas/Tree"}


def plain(schema: dict[str, Any]) -> dict[str, Any]:
    translated = to_json_schema(schema, COMPONENTS)
    Draft202012Validator.check_schema(translated)
    assert translated.pop("$schema") == Draft202012Validator.META_SCHEMA["$id"]
    return translated


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "integer", "minimum": 0, "exclusiveMinimum": True}, {"type": "integer", "exclusiveMinimum": 0}),
        ({"maximum": 1, "exclusiveMaximum": True}, {"exclusiveMaximum": 1}),
        ({"maximum": 1, "exclusiveMaximum": False}, {"maximum": 1}),
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string", "nullable": False}, {"type": "string"}),
        (
            {"type": "string", "nullable": True, "enum": ["a"], "description": "Words.", "x-api-default": "a"},
            {"type": ["string", "null"], "enum": ["a", None], "description": "Words.", "x-api-default": "a"},
        ),
        (
            {"anyOf": [{"type": "string"}, {"type": "integer"}], "nullable": True},
            {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
        ),
        (SIZE, {"type": "string", "enum": ["small", "large"]}),
        (
            {"allOf": [SIZE], "nullable": True},
            {"allOf": [{"type": ["string", "null"], "enum": ["small", "large", None]}]},
        ),
        ({"type": "array", "items": SIZE}, {"type": "array", "items": {"type": "string", "enum": ["small", "large"]}}),
        ({"additionalProperties": SIZE}, {"additionalProperties": {"type": "string", "enum": ["small", "large"]}}),
        ({"additionalProperties": False}, {"additionalProperties": False}),
        (
            {"discriminator": {}, "xml": {}, "externalDocs": {}, "example": 1, "readOnly": True, "x-source": "a page"},
            {},
        ),
        (
            {"properties": {"nullable": {}, "discriminator": {"type": "string"}, "example": {}}},
            {"properties": {"nullable": {}, "discriminator": {"type": "string"}, "example": {}}},
        ),
    ],
)
def test_openapi_keywords_become_json_schema(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert plain(schema) == expected


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"enum": ["a"]},
        {"anyOf": [{"type": "string"}]},
        {"anyOf": [{"type": "string", "nullable": True}, {"type": "integer"}]},
        {"oneOf": [{"type": "string", "nullable": True}, {"type": "integer", "nullable": True}]},
        {"oneOf": [{"properties": {"a": {}}}]},
        {"allOf": [{"type": "string"}, {"nullable": True, "enum": ["a"]}]},
        {"allOf": [{"anyOf": [TREE]}]},
        {"allOf": [TREE]},
        {"not": {"enum": [None, "b"]}},
        {"not": {"not": {"enum": ["a"]}}, "type": "string"},
        {"not": {"type": "object", "nullable": True}},
    ],
)
def test_a_nullable_schema_accepts_null_with_any_other_keyword(schema: dict[str, Any]) -> None:
    nullable = plain({**schema, "nullable": True})

    assert Draft202012Validator(nullable).is_valid(None)
    values: list[Any] = ["a", "b", 1, {"a": 1}, [], 0.5]
    for value in values:
        assert Draft202012Validator(nullable).is_valid(value) == Draft202012Validator(plain(schema)).is_valid(value)


def test_recursive_references_go_to_definitions() -> None:
    tree, even = plain({"properties": {"tree": TREE, "size": SIZE}}), plain({"$ref": "#/components/schemas/Even"})

    assert tree["properties"]["size"]["enum"] == ["small", "large"]
    assert tree["$defs"].keys() == {"Tree"}
    assert Draft202012Validator(tree).is_valid({"tree": {"child": {"child": {}}}})
    assert not Draft202012Validator(tree).is_valid({"tree": {"child": {"child": 1}}})
    assert even["$defs"].keys() == {"Even"}
    assert Draft202012Validator(even).is_valid({"next": {"next": {}}})
    assert not Draft202012Validator(even).is_valid({"next": {"next": {"next": {}}}})


def test_the_stored_schemas_give_one_file_for_each_request() -> None:
    found = request_schemas(build_document(ROOT / "openapi").document)

    assert found.keys() == {"generations", "edits", "request_id"}
    for schema in (*found["generations"], found["edits"]["fields"], found["request_id"]):
        Draft202012Validator.check_schema(schema)
        assert "$ref" not in json.dumps(schema)
    assert found["edits"]["files"]["image[]"] == {
        "max_files": 16,
        "max_bytes": 49_999_999,
        "media_types": ["image/png", "image/jpeg", "image/webp"],
    }
    assert "image[]" not in found["edits"]["fields"]["properties"]


def test_a_request_that_is_not_described_has_no_file() -> None:
    assert request_schemas({"paths": {}}) == {}
    assert request_schemas({"paths": {PATH: {"post": {}}, EDITS: {"get": {}}}}) == {}


def test_a_file_without_a_largest_size_is_an_error() -> None:
    form = {
        "schema": {"properties": {"mask": {"type": "string", "format": "binary"}}},
        "encoding": {"mask": {"contentType": "image/png"}},
    }
    document = {"paths": {EDITS: {"post": {"requestBody": {"content": {"multipart/form-data": form}}}}}}

    with pytest.raises(SchemaError, match="the file mask needs a maxLength"):
        request_schemas(document)
