"""Regenerating: changes in the schema reach types, validation, the command and the emulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import regenerate
from conftest import ROOT
from published import changed, fields_of, project, schema
from schema_tools.stored import write_sources

USE = """
import asyncio, json, sys
from aimlapi_images import ImageClient, ImageError, emulator

async def main():
    async with ImageClient("any-key", transport=emulator.transport()) as client:
        for prompt, arguments in json.loads(sys.argv[1]):
            try:
                image = await client.generate(prompt, **arguments)
                print(f"{image.width}x{image.height} {image.format}")
            except ImageError as error:
                print(error)

asyncio.run(main())
"""
HELP = "import sys\nfrom aimlapi_images.cli import main\nmain(['generate', *sys.argv[1:], '--help'])"
DRAWN = "1024x1024 png"
PRIMARY, OTHER = "openai/gpt-image-1-5", "acme/other-sizes"

Case = tuple[Callable[[dict[str, Any]], object], list[tuple[str, dict[str, Any], str]], list[str], dict[str, str]]


def several(operation: dict[str, Any]) -> None:
    fields_of(operation)["n"] = {"type": "number", "minimum": 1, "maximum": 10, "default": 1}


def new_fields(operation: dict[str, Any]) -> None:
    fields_of(operation)["strength"] = {"type": "number", "maximum": 1, "description": "How much."}
    fields_of(operation)["style"] = {"type": "string", "enum": ["vivid", "natural"], "default": "vivid"}


def second_model(operation: dict[str, Any]) -> None:
    fields_of(operation)["model"]["enum"].append("openai/gpt-image-9")


def removed_value(operation: dict[str, Any]) -> None:
    fields_of(operation)["quality"]["enum"].remove("high")
    fields_of(operation)["output_format"]["enum"].remove("webp")


# A schema of ours, beside the published ones.
OURS: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Ours", "version": "1", "x-handwritten": True},
    "paths": {"/v1/things": {"get": {"operationId": "get_things", "tags": ["things"], "responses": {"200": {}}}}},
}


def other_sizes(operation: dict[str, Any]) -> None:
    fields_of(operation)["model"]["enum"] = [OTHER]
    fields_of(operation)["size"].update(enum=["auto", "1792x1024"], default="auto")


# Changes to the published schema, each with calls and their results, words of the command's help, and literals of
# the generated models. They are all made at once: generating takes seconds.
CASES: dict[str, Case] = {
    "a new size": (
        lambda o: fields_of(o)["size"]["enum"].append("512x512"),
        [
            ("x", {"size": "512x512"}, "512x512 png"),
            ("x", {"size": "1x1"}, "must be one of '1024x1024', '1024x1536', '1536x1024', '512x512'"),
        ],
        ["--size [512x512|1024x1024|1024x1536|1536x1024]"],
        {"size": 'Literal["1024x1024", "1024x1536", "1536x1024", "512x512"]'},
    ),
    "a new limit": (
        lambda o: (fields_of(o)["prompt"].update(maxLength=10), fields_of(o)["output_compression"].update(minimum=5)),
        [
            ("x" * 10, {}, DRAWN),
            ("x" * 11, {}, "prompt must have at most 10 characters, not 11"),
            ("x", {"output_compression": 4}, "output_compression must be at least 5, not 4"),
        ],
        ["--output-compression INTEGER RANGE", "5<=x<=100"],
        {},
    ),
    "new optional fields": (
        new_fields,
        [
            ("x", {"options": {"strength": 0.5, "style": "natural"}}, DRAWN),
            ("x", {"options": {"strength": 2}}, "strength must be at most 1, not 2"),
            ("x", {"options": {"style": "dull"}}, "style must be one of 'vivid', 'natural', not 'dull'"),
            ("x", {"options": {"styl": "vivid"}}, "does not have styl (did you mean style?)"),
        ],
        ["--strength FLOAT RANGE", "How much.", "--style [vivid|natural]", "[the API's default: vivid]"],
        {"style": 'Literal["natural", "vivid"]'},
    ),
    "a removed value": (
        removed_value,
        [
            ("x", {"quality": "medium", "output_format": "jpeg"}, "1024x1024 jpeg"),
            ("x", {"quality": "high"}, "quality must be one of 'low', 'medium', not 'high'"),
            ("x", {"output_format": "webp"}, "output_format must be one of 'png', 'jpeg', not 'webp'"),
        ],
        ["--quality [low|medium]", "--output-format [png|jpeg]"],
        {"quality": 'Literal["low", "medium"]', "output_format": 'Literal["jpeg", "png"]'},
    ),
    "a second model in the list": (
        second_model,
        [
            ("x", {"model": "openai/gpt-image-9", "size": "1536x1024"}, "1536x1024 png"),
            ("x", {"model": "openai/gpt-image-9", "size": "1x1"}, "size must be one of"),
            ("x", {"model": "openai/gpt-image-8", "size": "1x1"}, "HTTP 404: There is no model 'openai/gpt-image-8'"),
        ],
        [],
        {"model": 'Literal["openai/gpt-image-1-5", "openai/gpt-image-9"]'},
    ),
    "several images": (
        several,
        [
            ("x", {"options": {"n": 3}}, DRAWN),
            ("x", {"options": {"n": 11}}, "n must be at most 10, not 11"),
            ("x", {"options": {"n": 1.5}}, "n must be a whole number, not 1.5"),
        ],
        ["--n INTEGER RANGE", "1<=x<=10"],
        {},
    ),
}


OTHER_CASE: Case = (
    other_sizes,
    [
        ("x", {"model": OTHER}, DRAWN),
        ("x", {"model": OTHER, "size": "auto"}, DRAWN),
        ("x", {"model": OTHER, "size": "1792x1024"}, "1792x1024 png"),
        ("x", {"model": OTHER, "size": "1024x1024"}, "size must be one of 'auto', '1792x1024', not '1024x1024'"),
    ],
    ["--size [auto|1792x1024]", "default: auto"],
    {"size": 'Literal["1792x1024", "auto"]'},
)


def contradiction() -> dict[str, Any]:
    """A schema whose response contradicts the one of the primary model, and has one more field."""
    entry = {"type": "object", "properties": {"url": {"type": "array", "items": {}}, "seed": {"type": "integer"}}}
    answer = {"type": "object", "required": ["data"], "properties": {"data": {"type": "array", "items": entry}}}
    responses = {"200": {"content": {"application/json": {"schema": answer}}}}
    return schema("acme/answers", {"prompt": {"type": "string"}}, responses=responses)


def all_changes(operation: dict[str, Any]) -> None:
    for edit, *_ in CASES.values():
        edit(operation)


def test_changes_reach_users_by_regenerating(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    openapi, output = project(tmp_path)
    published = {
        "gpt-image-1-5.json": changed(all_changes),
        "other.json": changed(other_sizes),
        "answers.json": contradiction(),
    }
    for name, document in published.items():
        (openapi / name).write_text(json.dumps(document), encoding="utf-8")
    write_sources(openapi, dict.fromkeys(published))
    (openapi / "ours.json").write_text(json.dumps(OURS), encoding="utf-8")
    stale = output / "aimlapi_rest" / "stale.py"
    stale.touch()

    code = regenerate.main(["--openapi", str(openapi), "--output", str(output)])

    assert (code, stale.exists()) == (0, False)
    assert (
        "note: answers.json: response of POST /v1/images/generations data items url is array, "
        "and string in another schema, which is taken\n"
    ) in capsys.readouterr().out
    data = (output / "aimlapi_rest/models/image_data.py").read_text(encoding="utf-8")
    assert "url: None | str | Unset" in data
    assert "seed: int | None | Unset" in data
    assert (output / "aimlapi_rest/api/things/get_things.py").is_file()

    def python(*arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(output), str(ROOT / "src")]), "COLUMNS": "100"}
        command = [sys.executable, "-W", "error", "-c", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    calls = [call for _, calls, _, _ in (*CASES.values(), OTHER_CASE) for call in calls]
    answers = python(USE, json.dumps([call[:2] for call in calls])).splitlines()
    for (*call, expected), answer in zip(calls, answers, strict=True):
        assert expected in answer, call

    for model, request, cases in (
        (PRIMARY, "image_generation_request", CASES.values()),
        (OTHER, "acme_other_sizes_request", [OTHER_CASE]),
    ):
        shown = " ".join(python(HELP, "--model", model).split())
        for _, _, words, literals in cases:
            assert [each for each in words if each not in shown] == []
            for field, literal in literals.items():
                module = output / f"aimlapi_rest/models/{request}_{field}.py"
                assert f"= {literal}\n" in module.read_text(encoding="utf-8")
