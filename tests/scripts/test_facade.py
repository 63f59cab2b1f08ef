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


def retype_some_fields(operation: dict[str, Any]) -> None:
    fields_of(operation)["size"]["enum"].remove("1536x1024")
    image_of(operation)["url"].update(type="array", items={"type": "string"})
    usage_of(operation)["credits_used"].update(type="string")


def replace_the_list_of_images(operation: dict[str, Any]) -> None:
    answer_of(operation)["properties"].update(data={"type": "string"})


def add_fields(operation: dict[str, Any]) -> None:
    fields_of(operation).update(
        n={"type": "number", "minimum": 1, "maximum": 10},
        seed={"type": "integer"},
        style={"type": "string", "enum": ["a", "b"]},
    )


# Several edits at once, as each change is generated anew, which takes seconds.
@pytest.mark.parametrize(
    ("edit", "code", "lines"),
    [
        (
            retype_some_fields,
            2,
            [
                'README.md has size="1536x1024", which is not allowed any more',
                "media/image_finder.py reads data[].url of ImageGenerationResponse as string, and it may be array now",
                "api/response_parser.py reads meta.usage.credits_used of ImageGenerationResponse as number, and it may "
                "be string now",
            ],
        ),
        (
            replace_the_list_of_images,
            2,
            ["media/image_finder.py reads data[].b64_json of ImageGenerationResponse, which is gone"],
        ),
        (add_fields, 1, ["ImageClient.generate has no argument for n, seed, style: until then, options= carries it"]),
    ],
)
def test_what_is_to_be_followed_by_hand_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], edit: Edit, code: int, lines: list[str]
) -> None:
    assert run_update(tmp_path, "--write", document=changed(edit)) == code
    listed = capsys.readouterr().out.partition("To follow by hand:\n")[2]
    assert [line for line in lines if f"  {line}\n" not in listed] == []


def test_changes_that_break_nobody_leave_nothing_to_follow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def widen(operation: dict[str, Any]) -> None:
        fields_of(operation)["size"]["enum"].append("2048x2048")
        fields_of(operation)["moderation"].pop("enum")
        fields_of(operation)["prompt"].update(maxLength=64_000)
        fields_of(operation).update(stream={"type": "boolean"})
        usage_of(operation)["credits_used"].update(type="integer")
        image_of(operation).update(width={"type": "integer"})

    assert run_update(tmp_path, "--write", document=changed(widen)) == 1
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
