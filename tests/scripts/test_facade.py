"""What a changed schema makes wrong in the facade, and that the list of what the facade reads is complete."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT
from published import answer_of, changed, fields_of, run_update
from schema_tools.facade import READ

FACADE = ROOT / "src" / "aimlapi_images"
Edit = Callable[[dict[str, Any]], object]


def image_of(operation: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = answer_of(operation)["properties"]["data"]["items"]["properties"]
    return found


def usage_of(operation: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = answer_of(operation)["properties"]["meta"]["properties"]["usage"]["properties"]
    return found


@pytest.mark.parametrize(
    ("edit", "code", "line"),
    [
        (
            lambda o: fields_of(o)["size"]["enum"].remove("1536x1024"),
            2,
            'README.md has size="1536x1024", which is not allowed any more',
        ),
        (
            lambda o: image_of(o)["url"].update(type="array", items={"type": "string"}),
            2,
            "media/image_finder.py reads data[].url of ImageGenerationResponse as string, and it may be array now",
        ),
        (
            lambda o: usage_of(o)["credits_used"].update(type="string"),
            2,
            "api/response_parser.py reads meta.usage.credits_used of ImageGenerationResponse as number, and it may be "
            "string now",
        ),
        (
            lambda o: answer_of(o)["properties"].update(data={"type": "string"}),
            2,
            "media/image_finder.py reads data[].b64_json of ImageGenerationResponse, which is gone",
        ),
        (
            lambda o: fields_of(o).update(n={"type": "number", "minimum": 1, "maximum": 10}),
            1,
            "ImageClient.generate has no argument for n: until then, options= carries it",
        ),
        (
            lambda o: fields_of(o).update(seed={"type": "integer"}, style={"type": "string", "enum": ["a", "b"]}),
            1,
            "ImageClient.generate has no argument for seed, style: until then, options= carries it",
        ),
    ],
)
def test_what_is_to_be_followed_by_hand_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], edit: Edit, code: int, line: str
) -> None:
    assert run_update(tmp_path, "--write", document=changed(edit)) == code
    assert f"  {line}\n" in capsys.readouterr().out.partition("To follow by hand:\n")[2]


@pytest.mark.parametrize(
    "edit",
    [
        lambda o: fields_of(o)["size"]["enum"].append("2048x2048"),
        lambda o: fields_of(o)["moderation"].pop("enum"),
        lambda o: fields_of(o)["prompt"].update(maxLength=64_000),
        lambda o: usage_of(o)["credits_used"].update(type="integer"),
        lambda o: image_of(o).update(width={"type": "integer"}),
        lambda o: fields_of(o).update(stream={"type": "boolean"}),
    ],
)
def test_a_change_that_breaks_nobody_leaves_nothing_to_follow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], edit: Edit
) -> None:
    assert run_update(tmp_path, "--write", document=changed(edit)) == 1
    assert "To follow by hand" not in capsys.readouterr().out


@pytest.mark.parametrize("module", READ)
def test_the_list_names_the_fields_that_a_module_reads(module: str) -> None:
    tree = ast.parse((FACADE / module).read_text(encoding="utf-8"))
    words = {each.value for each in ast.walk(tree) if isinstance(each, ast.Constant) and isinstance(each.value, str)}
    read = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get"
        for name in ast.walk(node.func.value)
        if isinstance(name, ast.Name)
        and name.id in ("body", "fields", "upstream", "stated", "row", "cost", "pagination")
        if isinstance(node.args[0], ast.Constant)
    }
    listed = {place.rpartition(".")[2].removesuffix("[]") for each in READ[module].values() for place in each}

    assert read <= listed
    assert listed - words <= {"data"}  # the log's list of rows is found by its type
