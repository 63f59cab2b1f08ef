"""Request schemas: loading, and the messages for values that break them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from aimlapi_images.orders import schema
from aimlapi_images.orders.schema import describe
from conftest import ROOT

LOAD = """
import sys
from aimlapi_images.orders import schema
assert "output_compression" in schema.request("generations")["properties"]
assert schema.edit_files("mask").formats == ("png",)
assert "httpx" not in sys.modules
assert schema.request_id_problems("a b")
"""


def run(code: str, *path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_schemas_load_from_a_zip_file_and_without_the_http_client(tmp_path: Path) -> None:
    for package in ("src/aimlapi_images", "generated/aimlapi_rest"):
        shutil.copytree(ROOT / package, tmp_path / "content" / package.partition("/")[2])
    archive = shutil.make_archive(str(tmp_path / "packages"), "zip", tmp_path / "content")

    run(LOAD + "assert '.zip' in schema.__file__", Path(archive))


def messages(rules: dict[str, Any], value: Any) -> list[str]:
    return [describe(error).text for error in Draft202012Validator(rules).iter_errors(value)]


@pytest.mark.parametrize(
    ("rules", "value", "expected"),
    [
        ({"enum": ["a", "b"]}, "c", "must be one of 'a', 'b', not 'c'"),
        ({"enum": [1]}, 2, "must be 1, not 2"),
        ({"type": ["string", "null"]}, 1, "must be a string or null, not 1"),
        ({"minimum": 1}, 0, "must be at least 1, not 0"),
        ({"exclusiveMinimum": 0}, 0, "must be more than 0, not 0"),
        ({"maximum": 1}, 2, "must be at most 1, not 2"),
        ({"exclusiveMaximum": 1}, 1, "must be less than 1, not 1"),
        ({"minLength": 1}, "", "is empty"),
        ({"minLength": 3}, "ab", "must have at least 3 characters, not 2"),
        ({"maxLength": 1}, "ab", "must have at most 1 characters, not 2"),
        ({"minItems": 1}, [], "must have at least 1 entries, not 0"),
        ({"maxItems": 1}, [1, 2], "must have at most 1 entries, not 2"),
        ({"pattern": "^a"}, "b", "is wrong: 'b' does not match '^a'"),
        ({"multipleOf": 2}, 3, "is wrong: 3 is not a multiple of 2"),
        ({"not": {"enum": [1], "description": "has to be another"}}, 1, "has to be another"),
        ({"required": ["a"]}, {}, "a is missing"),
        (
            {"properties": {"a": {"properties": {"b": {"type": "number"}}}}},
            {"a": {"b": ""}},
            "a.b must be",
        ),
        ({"anyOf": [{"enum": [1]}, {"type": "null"}, {}]}, 1, ""),
        ({"anyOf": [{"type": "array"}, {"type": "null"}]}, 1, "must be a list or null, not 1"),
        ({"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]}, "b", "must be 'a', not 'b'"),
    ],
)
def test_a_message_names_the_field_the_value_and_the_limit(rules: dict[str, Any], value: Any, expected: str) -> None:
    found = messages(rules, value)

    assert found[0].startswith(expected) if expected else not found


@pytest.mark.parametrize(
    "rules",
    [
        {"enum": ["a"]},
        {"type": "null"},
        {"pattern": "^b"},
        {"maxLength": 9},
        {"const": 1},
        {"not": {}},
        {"format": "x"},
    ],
)
def test_long_values_never_appear_in_a_message(rules: dict[str, Any]) -> None:
    for message in messages(rules, "a" * 32_000) + messages({"uniqueItems": True}, ["a" * 32_000] * 2):
        assert len(message) < 300


def test_whole_floats_are_no_integers() -> None:
    (problem,) = schema.problems("edits", {"model": schema.models("edits")[0], "prompt": "x", "n": 1.0})

    assert problem.text == "n must be a whole number, not 1.0"
