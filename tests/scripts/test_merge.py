"""Combining the schemas of several models into one document."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from own_schema import STORED
from published import PATH
from schema_tools import SchemaError
from schema_tools.merge import merge, promote_titles


def test_consistent_documents_are_merged() -> None:
    a = {"paths": {"/a": {"get": {}}}, "servers": [{"url": "u"}], "components": {"schemas": {"E": {"type": "object"}}}}
    b = {"paths": {"/b": {"get": {}}, "/a": {"post": {}}}, "servers": [{"url": "u"}], "components": a["components"]}

    merged = merge({"a": a, "b": b})

    assert merged["paths"] == {"/a": {"get": {}, "post": {}}, "/b": {"get": {}}}
    assert merged["servers"] == [{"url": "u"}]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"paths": {"/a": {"get": {}}}}, "a and b both describe get /a"),
        ({"components": {"schemas": {"E": {"type": "string"}}}}, "b: components/schemas/E differs"),
    ],
)
def test_contradicting_documents_are_an_error(second: dict[str, Any], message: str) -> None:
    first = {"paths": {"/a": {"get": {}}}, "components": {"schemas": {"E": {"type": "object"}}}}

    with pytest.raises(SchemaError, match=message):
        merge({"a": first, "b": second})


def test_two_bodies_with_the_same_title_are_an_error() -> None:
    schema = copy.deepcopy(STORED)
    operation = schema["paths"][PATH]["post"]
    operation["responses"]["200"]["content"]["application/json"]["schema"]["title"] = "openai/gpt-image-1-5"

    with pytest.raises(SchemaError, match=r"x: two different bodies are titled openai/gpt-image-1-5 .*post /v1/images"):
        promote_titles(schema, "x")
