"""Bad input gets one clear error, and nothing is sent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from aimlapi_images import ImageClient, InvalidRequestError
from conftest import KEY, scripted

REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("empty prompt", "", {}, "prompt is empty"),
    ("blank prompt", " \n\t", {}, "prompt is empty"),
    ("prompt of the wrong type", None, {}, "prompt is None, and has to be a string"),  # type: ignore[list-item]
    ("long prompt", "x" * 32_001, {}, "prompt has 32,001 characters, and may have at most 32,000"),
    ("unpaired surrogate", "\ud800", {}, "the request cannot be sent as JSON: .*surrogates"),
    ("size", "x", {"size": "1x1"}, "size is '1x1', and has to be one of '1024x1024', '1024x1536', '1536x1024'"),
    ("quality", "x", {"quality": "best"}, "quality is 'best', and has to be one of 'low', 'high', 'medium'"),
    ("compression above", "x", {"output_compression": 101}, "output_compression is 101, and may be at most 100"),
    ("compression below", "x", {"output_compression": -1}, "output_compression is -1, and has to be at least 0"),
    (
        "compression as text",
        "x",
        {"output_compression": "9"},
        "output_compression is '9', and has to be a whole number",
    ),
    (
        "transparent jpeg",
        "x",
        {"background": "transparent", "output_format": "jpeg"},
        'background "transparent" needs output_format "png" or "webp"',
    ),
    ("option beside its argument", "x", {"size": "1024x1024", "options": {"size": "1024x1536"}}, "size in options"),
    ("prompt as an option", "x", {"options": {"prompt": "y"}}, "prompt in options: pass it as an argument"),
    (
        "misspelt option",
        "x",
        {"options": {"output_fromat": "png"}},
        "no field of this model: is output_format meant",
    ),
    ("model that is none", "x", {"model": None}, "model is None, and has to be the name of one"),
    ("model without a name", "x", {"model": " "}, "model is ' ', and has to be"),
    ("options that are a list", "x", {"options": [("n", 1)]}, "options is .*, and has to be a mapping"),
    ("options without names", "x", {"options": {1: 2}}, "options is {1: 2}, and has to be a mapping"),
    ("path that is a number", "x", {"to": 5}, "to is 5, and has to be a path"),
    ("path with a null", "x", {"to": "a\0b"}, "could not be written"),
    ("order that is a number", "x", {"order": 5}, "order is 5, and has to be an id"),
    ("order without a letter", "x", {"order": ""}, "order is '', and has to be an id"),
    ("empty order", "x", {"order": " "}, "order ' ' cannot name a request"),
    ("number of images", "x", {"options": {"n": 2}}, "n is 2, and has to be 1"),
    ("option that is no JSON", "x", {"options": {"seed": {1, 2}}}, "cannot be sent as JSON: .*set"),
    ("option that is no number", "x", {"options": {"seed": float("nan")}}, "cannot be sent as JSON"),
    ("order with a space", "x", {"order": "my order"}, "order 'my order' cannot name a request"),
    ("order too long", "x", {"order": "a" * 124}, "129 characters, and may have at most 128"),
    ("empty prompt for an unknown model", "", {"model": "acme/new"}, "prompt is empty"),
]


@pytest.mark.parametrize(
    ("prompt", "arguments", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
async def test_a_request_that_cannot_be_right_is_not_sent(prompt: str, arguments: dict[str, Any], message: str) -> None:
    client, script = scripted()

    with pytest.raises(InvalidRequestError, match=message) as caught:
        await client.generate(prompt, **arguments)

    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
    assert script.requests == []


async def test_the_longest_prompt_and_order_are_sent() -> None:
    client, script = scripted()

    await client.generate("x" * 32_000, order="a" * 123)

    assert len(script.body["prompt"]) == 32_000


async def test_everything_that_is_wrong_is_said_at_once() -> None:
    client, _ = scripted()

    with pytest.raises(InvalidRequestError) as caught:
        await client.generate("", size="1x1")  # type: ignore[arg-type]

    assert "prompt is empty" in str(caught.value)
    assert "size is '1x1'" in str(caught.value)


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("missing/trex.png", "the folder does not exist: .*missing"),
        ("file.png/trex.png", "the folder does not exist: .*file.png"),
        ("file.png", "a file is there already: .*file.png"),
        ("file", "a file is there already: .*file.png"),
        ("folder", "this is a folder, not a file: .*folder"),
        ("x" * 300, "name too long"),
        (".", "this names a folder"),
    ],
)
async def test_a_path_that_cannot_be_written_is_refused_before_it_costs_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str, message: str
) -> None:
    (tmp_path / "file.png").write_text("kept")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    client, script = scripted()

    with pytest.raises(InvalidRequestError, match=f"(?i){message}"):
        await client.generate("x", to=to)

    assert script.requests == []
    assert (tmp_path / "file.png").read_text() == "kept"


async def test_a_folder_without_leave_to_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not by taking the leave away: root, as whom tests may run, writes all the same.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    client, script = scripted()

    with pytest.raises(InvalidRequestError, match="the folder is not writable"):
        await client.generate("x", to=tmp_path / "trex.png")

    assert script.requests == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"retry": 3}, r"retry is 3, and has to be a RetryPolicy, as in retry=RetryPolicy\(...\)"),
        ({"budget": 5}, "budget is 5, and has to be a"),
        ({"observer": 5}, "observer is 5, and has to be an async function"),
        ({"timeout": "x"}, "timeout is 'x', and has to be a number of seconds"),
        ({"api_key": None}, "no API key: set AIMLAPI_API_KEY .* pass api_key, or try the emulator"),
        ({"api_key": ""}, "no API key"),
        ({"api_key": "two words"}, "the API key has spaces"),
        ({"api_key": "schlüssel"}, "letters that no key has"),
        ({"max_concurrency": 0}, "max_concurrency is 0"),
        ({"max_concurrency": 2.5}, "max_concurrency is 2.5"),
        ({"max_concurrency": True}, "max_concurrency is True"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": None}, "timeout is None"),
        ({"base_url": "api.aimlapi.com"}, "has to begin with https://"),
        ({"base_url": "ftp://api.aimlapi.com"}, "has to begin with https://"),
        ({"base_url": "https://"}, "has to begin with https://"),
        ({"base_url": "https://me:secret@api.aimlapi.com"}, "a user name or password in it"),
        ({"base_url": "https://api.aimlapi.com/v1?x=1"}, "no query"),
        ({"base_url": "https://api.aimlapi.com:port"}, "is not a URL"),
    ],
)
def test_a_client_that_cannot_work_is_not_made(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message) as caught:
        ImageClient(**{"api_key": KEY, **arguments})

    assert "secret" not in str(caught.value)
    assert "words" not in str(caught.value)
