"""A change in the schema reaches types, checks, options and the emulator by regenerating, without a hand on them."""

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
from published import changed, fields_of, project

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
HELP = "from aimlapi_images.cli import main\nmain(['generate', '--help'])"
DRAWN = "1024x1024 png"

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


# A change; calls and what comes of them; words of the command's help; what the generated literals are.
CASES: dict[str, Case] = {
    "a new size": (
        lambda o: fields_of(o)["size"]["enum"].append("512x512"),
        [
            ("x", {"size": "512x512"}, "512x512 png"),
            ("x", {"size": "1x1"}, "has to be one of '1024x1024', '1024x1536', '1536x1024', '512x512'"),
        ],
        ["--size [1024x1024|1024x1536|1536x1024|512x512]"],
        {"size": 'Literal["1024x1024", "1024x1536", "1536x1024", "512x512"]'},
    ),
    "other sizes": (
        lambda o: fields_of(o)["size"].update(enum=["auto", "1792x1024"], default="auto"),
        [
            ("x", {}, DRAWN),
            ("x", {"size": "auto"}, DRAWN),
            ("x", {"size": "1792x1024"}, "1792x1024 png"),
            ("x", {"size": "1024x1024"}, "size is '1024x1024', and has to be one of 'auto', '1792x1024'"),
        ],
        ["--size [auto|1792x1024]", "default: auto"],
        {"size": 'Literal["1792x1024", "auto"]'},
    ),
    "a new limit": (
        lambda o: (fields_of(o)["prompt"].update(maxLength=10), fields_of(o)["output_compression"].update(minimum=5)),
        [
            ("x" * 10, {}, DRAWN),
            ("x" * 11, {}, "prompt has 11 characters, and may have at most 10"),
            ("x", {"output_compression": 4}, "output_compression is 4, and has to be at least 5"),
        ],
        ["--output-compression INTEGER RANGE", "5<=x<=100"],
        {},
    ),
    "new optional fields": (
        new_fields,
        [
            ("x", {"options": {"strength": 0.5, "style": "natural"}}, DRAWN),
            ("x", {"options": {"strength": 2}}, "strength is 2, and may be at most 1"),
            ("x", {"options": {"style": "dull"}}, "style is 'dull', and has to be one of 'vivid', 'natural'"),
            ("x", {"options": {"styl": "vivid"}}, "styl in options is not a field of this model: did you mean style?"),
        ],
        ["--strength FLOAT RANGE", "How much.", "--style [vivid|natural]", "[the API's default: vivid]"],
        {"style": 'Literal["natural", "vivid"]'},
    ),
    "a removed value": (
        removed_value,
        [
            ("x", {"quality": "medium", "output_format": "jpeg"}, "1024x1024 jpeg"),
            ("x", {"quality": "high"}, "quality is 'high', and has to be one of 'low', 'medium'"),
            ("x", {"output_format": "webp"}, "output_format is 'webp', and has to be one of 'png', 'jpeg'"),
        ],
        ["--quality [low|medium]", "--output-format [png|jpeg]"],
        {"quality": 'Literal["low", "medium"]', "output_format": 'Literal["jpeg", "png"]'},
    ),
    "a second model in the list": (
        second_model,
        [
            ("x", {"model": "openai/gpt-image-9", "size": "1536x1024"}, "1536x1024 png"),
            ("x", {"model": "openai/gpt-image-9", "size": "1x1"}, "size is '1x1', and has to be one of"),
            ("x", {"model": "openai/gpt-image-8", "size": "1x1"}, "HTTP 404: There is no model 'openai/gpt-image-8'"),
        ],
        [],
        {"model": 'Literal["openai/gpt-image-1-5", "openai/gpt-image-9"]'},
    ),
    "several images": (
        several,
        [
            ("x", {"options": {"n": 3}}, DRAWN),
            ("x", {"options": {"n": 11}}, "n is 11, and may be at most 10"),
            ("x", {"options": {"n": 1.5}}, "n is 1.5, and has to be a whole number"),
        ],
        ["--n INTEGER RANGE", "1<=x<=10"],
        {},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_change_reaches_users_by_regenerating(tmp_path: Path, name: str) -> None:
    edit, calls, help_, literals = CASES[name]
    openapi, output = project(tmp_path)
    (openapi / "gpt-image-1-5.json").write_text(json.dumps(changed(edit)), encoding="utf-8")
    assert regenerate.main(["--openapi", str(openapi), "--output", str(output)]) == 0

    def python(*arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(output), str(ROOT / "src")]), "COLUMNS": "100"}
        command = [sys.executable, "-W", "error", "-c", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    answers = python(USE, json.dumps([call[:2] for call in calls])).splitlines()
    shown = " ".join(python(HELP).split())

    for (*_, expected), answer in zip(calls, answers, strict=True):
        assert expected in answer
    for words in help_:
        assert words in shown
    for field, literal in literals.items():
        module = output / f"aimlapi_rest/models/image_generation_request_{field}.py"
        assert f"= {literal}\n" in module.read_text(encoding="utf-8")
