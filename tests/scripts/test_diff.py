"""Comparing two versions of a schema."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from own_schema import stored_schemas
from published import answer_of, changed, fields_of, schema
from schema_tools.diff import Change, compare
from schema_tools.normalize import normalize
from schema_tools.report import Report
from schema_tools.update import Candidate, examine

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def openapi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored_schemas(tmp_path_factory.mktemp("stored"))


def examined(openapi: Path, document: dict[str, Any]) -> Report:
    candidate = Candidate(
        source="a test",
        schema=document,
        document=normalize(document, "a test").document,
        models=(),
        notes=[],
        name="gpt-image-1-5.json",
    )
    return examine(openapi, candidate)


def body_of(operation: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]
    return found


def usage_of(operation: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = answer_of(operation)["properties"]["meta"]["properties"]["usage"]
    return found


def image_of(operation: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = answer_of(operation)["properties"]["data"]["items"]["properties"]
    return found


# Each on the stored schema of gpt-image-1-5: the change, and its kind, place and words.
REQUESTS: list[tuple[Edit, list[tuple[str, str, str]]]] = [
    (lambda o: fields_of(o)["size"]["enum"].append("auto"), [("additive", "request size", '"auto" is allowed now')]),
    (
        lambda o: fields_of(o)["size"]["enum"].remove("1024x1536"),
        [("breaking", "request size", '"1024x1536" is not allowed any more')],
    ),
    (
        lambda o: fields_of(o)["size"]["enum"].reverse(),
        [("documentation", "request size", "the values come in another order")],
    ),
    (
        lambda o: fields_of(o)["moderation"].pop("enum"),
        [("additive", "request moderation", 'is not limited to "low", "auto" any more')],
    ),
    (
        lambda o: fields_of(o)["prompt"].update(enum=["a"]),
        [("breaking", "request prompt", 'has to be one of "a" now')],
    ),
    (lambda o: fields_of(o).update(seed={"type": "integer"}), [("additive", "request seed", "is new (integer)")]),
    (
        lambda o: (fields_of(o).update(seed={"type": "integer"}), body_of(o)["required"].append("seed")),
        [("breaking", "request seed", "is new (integer, required)")],
    ),
    (lambda o: fields_of(o).pop("moderation"), [("breaking", "request moderation", "is gone")]),
    (lambda o: body_of(o)["required"].append("size"), [("breaking", "request size", "is required now")]),
    (lambda o: body_of(o)["required"].remove("prompt"), [("additive", "request prompt", "is optional now")]),
    (
        lambda o: fields_of(o)["prompt"].update(maxLength=4000),
        [("breaking", "request prompt", "maxLength is 4000 instead of 32000")],
    ),
    (
        lambda o: fields_of(o)["prompt"].update(maxLength=64000),
        [("additive", "request prompt", "maxLength is 64000 instead of 32000")],
    ),
    (
        lambda o: fields_of(o)["prompt"].pop("maxLength"),
        [("additive", "request prompt", "maxLength was 32000, and is gone")],
    ),
    (
        lambda o: fields_of(o)["prompt"].update(minLength=3),
        [("breaking", "request prompt", "minLength is 3 instead of 1")],
    ),
    (
        lambda o: fields_of(o)["output_compression"].update(minimum=10),
        [("breaking", "request output_compression", "minimum is 10 instead of 0")],
    ),
    (
        lambda o: fields_of(o)["output_compression"].update(minimum=-1),
        [("additive", "request output_compression", "minimum is -1 instead of 0")],
    ),
    (
        lambda o: fields_of(o)["output_compression"].update(multipleOf=5),
        [("breaking", "request output_compression", "multipleOf is 5 now")],
    ),
    (
        lambda o: fields_of(o)["output_compression"].update(exclusiveMaximum=True),
        [("breaking", "request output_compression", "exclusiveMaximum is true now")],
    ),
    (
        lambda o: fields_of(o)["prompt"].update(pattern="^[a-z]+$"),
        [("breaking", "request prompt", 'pattern is "^[a-z]+$" now')],
    ),
    (
        lambda o: fields_of(o)["output_compression"].update(type="string"),
        [("breaking", "request output_compression", "is string instead of integer")],
    ),
    (
        lambda o: fields_of(o)["output_compression"].update(type="number"),
        [("additive", "request output_compression", "is number instead of integer")],
    ),
    (
        lambda o: fields_of(o)["prompt"].update(nullable=True),
        [("additive", "request prompt", "may be null now")],
    ),
    (
        lambda o: (
            fields_of(o)["prompt"].pop("type"),
            fields_of(o)["prompt"].update(
                anyOf=[
                    {"type": "string", "maxLength": 32000, "minLength": 1, "pattern": "[^ \\t\\n\\r]"},
                    {"type": "array", "items": {}},
                ]
            ),
            fields_of(o)["prompt"].pop("maxLength"),
        ),
        [("additive", "request prompt", "may be array now")],
    ),
    (
        lambda o: fields_of(o).update(n={"type": "number", "minimum": 1, "maximum": 10, "default": 1}),
        [
            ("additive", "request n", "is not limited to 1 any more (minimum 1, maximum 10)"),
            ("documentation", "request n", "description is gone"),
        ],
    ),
    (
        lambda o: fields_of(o).update(n={"type": "integer", "minimum": 2, "default": 1}),
        [
            ("breaking", "request n", "1 is not allowed any more"),
            ("additive", "request n", "is not limited to 1 any more (minimum 2)"),
            ("documentation", "request n", "default 1 is not documented any more"),
            ("documentation", "request n", "description is gone"),
        ],
    ),
    (
        lambda o: fields_of(o)["quality"].update(default="high"),
        [
            (
                "breaking",
                "request quality",
                'default is "high" instead of "medium": requests without it give something else',
            )
        ],
    ),
    (
        lambda o: fields_of(o)["prompt"].update(default="A fox"),
        [("documentation", "request prompt", 'default is "A fox"')],
    ),
    (
        lambda o: body_of(o).update(additionalProperties=False),
        [("breaking", "request", "takes no other fields any more")],
    ),
    (
        lambda o: fields_of(o)["model"]["enum"].append("openai/gpt-image-2"),
        [("additive", "request model", '"openai/gpt-image-2" is allowed now')],
    ),
    (
        lambda o: fields_of(o)["prompt"].update(description="Words."),
        [("documentation", "request prompt", "description reads otherwise")],
    ),
    (
        lambda o: fields_of(o)["moderation"].update(deprecated=True),
        [("documentation", "request moderation", "deprecated is new")],
    ),
    (
        lambda o: o["requestBody"].update(content={"multipart/form-data": o["requestBody"]["content"].popitem()[1]}),
        [
            (
                "breaking",
                "POST /v1/images/generations request",
                "is sent as multipart/form-data instead of application/json",
            )
        ],
    ),
    (
        lambda o: o.update(parameters=[{"name": "x", "in": "query", "required": True, "schema": {"type": "string"}}]),
        [("breaking", "query x", "is new and required")],
    ),
    (
        lambda o: o.update(parameters=[{"name": "x", "in": "query", "schema": {"type": "string"}}]),
        [("additive", "query x", "is new")],
    ),
    (
        lambda o: o.update(deprecated=True),
        [("documentation", "POST /v1/images/generations", "is deprecated")],
    ),
]
ANSWERS: list[tuple[Edit, list[tuple[str, str, str]]]] = [
    (lambda o: image_of(o).pop("url"), [("breaking", "response data[].url", "is gone")]),
    (
        lambda o: image_of(o).update(width={"type": "integer"}),
        [("additive", "response data[].width", "is new (integer)")],
    ),
    (
        lambda o: image_of(o)["url"].update(type="array", items={}),
        [("breaking", "response data[].url", "is array instead of string")],
    ),
    (
        lambda o: image_of(o)["url"].pop("nullable"),
        [("documentation", "schema", "differs in what no client shows")],
    ),
    (
        lambda o: usage_of(o)["properties"]["credits_used"].update(nullable=True),
        [("documentation", "schema", "differs in what no client shows")],
    ),
    (
        lambda o: usage_of(o)["properties"]["credits_used"].update(type="integer"),
        [("additive", "response meta.usage.credits_used", "is integer instead of number")],
    ),
    (
        lambda o: usage_of(o).pop("required"),
        [("documentation", "schema", "differs in what no client shows")],
    ),
    (
        lambda o: answer_of(o)["properties"]["data"].update(maxItems=4),
        [("documentation", "response data", "maxItems is 4 now")],
    ),
    (
        lambda o: image_of(o)["url"].update(description="Where it is."),
        [("documentation", "response data[].url", "description reads otherwise")],
    ),
    (
        lambda o: answer_of(o).update(required=["data"]),
        [("documentation", "schema", "differs in what no client shows")],
    ),
    (lambda o: o["responses"].update({"201": o["responses"].pop("200")}), [("documentation", "schema", "differs in")]),
    (lambda o: o.update(operationId="other"), [("documentation", "schema", "differs in what no client shows")]),
]


@pytest.mark.parametrize(("edit", "expected"), [*REQUESTS, *ANSWERS])
def test_a_change_is_classified_and_described(openapi: Path, edit: Edit, expected: list[tuple[str, str, str]]) -> None:
    report = examined(openapi, changed(edit))

    told = [(change.kind, change.place, change.text) for change in report.changes]
    assert [each[:2] for each in expected] == [each[:2] for each in told]
    for (_, _, words), (_, _, text) in zip(expected, told, strict=True):
        assert text.startswith(words)
    kinds = [kind for kind, _, _ in expected]
    assert report.code == (2 if "breaking" in kinds else 1 if "additive" in kinds else 0)


def test_the_layout_of_a_schema_does_not_matter(openapi: Path) -> None:
    def reversed_(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: reversed_(node[key]) for key in reversed(node)}
        return node

    report = examined(openapi, reversed_(changed(lambda o: None)))

    assert (report.same, report.changes, report.verdict) == (True, [], "unchanged")


def test_references_are_resolved_before_comparing(openapi: Path) -> None:
    document = changed(lambda o: None)
    operation = document["paths"]["/v1/images/generations"]["post"]
    document["components"] = {
        "schemas": {"Size": fields_of(operation)["size"], "Other": {"type": "object"}},
        "requestBodies": {"Body": operation["requestBody"]},
    }
    fields_of(operation)["size"] = {"$ref": "#/components/schemas/Size"}
    operation["requestBody"] = {"$ref": "#/components/requestBodies/Body"}

    report = examined(openapi, document)

    assert (report.same, report.code, report.verdict) == (False, 0, "1 in documentation only")


def test_added_and_removed_paths_and_servers_are_reported() -> None:
    old = schema("a/b", {})
    new = copy.deepcopy(old)
    new["paths"] = {"/v1/images/other": new["paths"].popitem()[1]}
    new["servers"] = [{"url": "https://elsewhere"}]

    assert compare(old, new) == [
        Change("breaking", "POST /v1/images/generations", "is gone"),
        Change("breaking", "servers", "https://api.aimlapi.com is gone"),
        Change("additive", "POST /v1/images/other", "is new"),
        Change("additive", "servers", "https://elsewhere is new"),
    ]


def test_branches_and_headers_are_compared_individually() -> None:
    size = {"anyOf": [{"type": "object", "properties": {"width": {"type": "integer"}}}, {"type": "string"}]}
    header = {"name": "X-A", "in": "header", "schema": {"type": "string"}}
    old = schema("a/b", {"size": size}, parameters=[header, {**header, "name": "X-B"}])
    new = schema("a/b", {"size": {"type": "object", "properties": {}}}, parameters=[{**header, "required": True}])

    assert [(each.kind, each.place, each.text) for each in compare(old, new)] == [
        ("breaking", "header X-A", "is required now"),
        ("breaking", "header X-B", "is gone"),
        ("breaking", "request size", "may not be string any more"),
        ("breaking", "request size.width", "is gone"),
    ]
