"""Clients that no one here wrote, against the emulator."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import requests
from PIL import Image

from aimlapi_images import emulator, mask_from_box
from aimlapi_images.emulator import RunningEmulator

KEY = "the-key"
MODEL: Any = "openai/gpt-image-1-5"
CURL, NODE = shutil.which("curl"), shutil.which("node")


@pytest.fixture(scope="module")
def _server() -> Iterator[RunningEmulator]:
    with emulator.serve(api_key=KEY, drawing="plain", time_scale=1000) as running:
        yield running


@pytest.fixture
def running(_server: RunningEmulator) -> RunningEmulator:
    _server.reset()
    return _server


def sdk(running: RunningEmulator, key: str = KEY, retries: int = 0) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key=key, base_url=f"{running.base_url}/v1", max_retries=retries)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("response_format", ["url", "b64_json"])
async def test_the_openai_sdk_generates(running: RunningEmulator, response_format: Any, strict: bool) -> None:
    async with openai.AsyncOpenAI(
        api_key=KEY, base_url=f"{running.base_url}/v1", _strict_response_validation=strict
    ) as client:
        answer = await client.images.generate(
            model=MODEL, prompt="A fox", size="1536x1024", response_format=response_format, background="auto", n=1
        )

    said = (answer.background, answer.size, answer.quality, answer.output_format)
    assert said == ("opaque", "1536x1024", "medium", "png")
    (entry,) = answer.data or []
    data = base64.b64decode(entry.b64_json) if entry.b64_json else await fetched(entry.url)
    assert (entry.b64_json is None) == (response_format == "url")
    assert Image.open(io.BytesIO(data)).size == (1536, 1024)


async def fetched(url: str | None) -> bytes:
    async with httpx.AsyncClient(timeout=60) as http:
        return (await http.get(str(url))).content


async def test_the_openai_sdk_edits(running: RunningEmulator) -> None:
    before = io.BytesIO()
    Image.new("RGB", (1024, 1024), "navy").save(before, "PNG")
    mask = io.BytesIO()
    mask_from_box(before.getvalue(), (100, 100, 500, 500)).save(mask, "PNG")
    async with sdk(running) as client:
        answer = await client.images.edit(
            model=MODEL,
            prompt="A boat",
            image=("cat.png", before.getvalue(), "image/png"),
            mask=("mask.png", mask.getvalue(), "image/png"),
            n=2,
        )

    images = [await fetched(entry.url) for entry in answer.data or []]
    assert len(set(images)) == 2
    assert running.billed == 1


@pytest.mark.parametrize(
    ("fault", "error", "status", "message"),
    [
        ("content_policy", openai.BadRequestError, 400, "rejected by the safety system"),
        ("out_of_credits", openai.PermissionDeniedError, 403, "run out of credits"),
        ("rate_limited", openai.RateLimitError, 429, "Too Many Requests"),
        ("server_error", openai.InternalServerError, 500, "Something wrong with the server"),
        ("proxy_timeout", openai.InternalServerError, 524, "Error code: 524"),
    ],
)
async def test_the_openai_sdk_reads_errors(
    running: RunningEmulator, fault: str, error: type[openai.APIStatusError], status: int, message: str
) -> None:
    running.fail(fault)
    async with sdk(running) as client:
        with pytest.raises(error, match=message) as caught:
            await client.images.generate(model=MODEL, prompt="A fox")

    assert caught.value.status_code == status
    assert ("x-inference-id" in caught.value.response.headers) == (status != 524)


async def test_the_openai_sdk_finds_the_request_id_in_an_error(running: RunningEmulator) -> None:
    async with sdk(running, key="wrong") as client:
        with pytest.raises(openai.AuthenticationError, match="requires a valid API key") as caught:
            await client.images.generate(model=MODEL, prompt="A fox")

    assert isinstance(caught.value.body, dict)
    assert len(caught.value.body["requestId"]) == 36


async def test_the_openai_sdk_waits_after_a_refusal(running: RunningEmulator) -> None:
    running.fail("rate_limited", times=2)
    async with sdk(running, retries=2) as client:
        answer = await client.images.generate(model=MODEL, prompt="A fox")

    assert answer.data
    assert (running.stats.received, running.billed) == (3, 1)


async def test_the_openai_sdk_is_told_that_nothing_streams(running: RunningEmulator) -> None:
    async with sdk(running) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.images.generate(model=MODEL, prompt="A fox", stream=True)

    assert isinstance(caught.value.body, dict)
    assert caught.value.body["meta"] == [{"message": "Streaming is not supported", "path": ["stream"]}]


async def test_a_dropped_connection_is_one_to_the_openai_sdk(running: RunningEmulator) -> None:
    running.fail("dropped_after")
    async with sdk(running) as client:
        with pytest.raises(openai.APIConnectionError):
            await client.images.generate(model=MODEL, prompt="A fox")

    assert running.billed == 1


def test_requests_works(running: RunningEmulator) -> None:
    answer = requests.post(
        f"{running.base_url}/v1/images/generations",
        headers={"Authorization": f"Bearer {KEY}"},
        json={"model": MODEL, "prompt": "A fox"},
        timeout=30,
    )
    image = requests.get(answer.json()["data"][0]["url"], timeout=30)

    assert Image.open(io.BytesIO(image.content)).size == (1024, 1024)
    running.fail("cut_body")
    with pytest.raises(requests.exceptions.RequestException):
        requests.post(answer.request.url or "", headers=answer.request.headers, data=answer.request.body, timeout=30)


@pytest.mark.skipif(CURL is None, reason="needs curl")
def test_curl_works_as_in_the_published_page(running: RunningEmulator, tmp_path: Path) -> None:
    request = {"model": MODEL, "prompt": "A T-Rex relaxing on a beach.", "size": "1536x1024"}
    shown = subprocess.run(
        [
            *(str(CURL), "--silent", "--noproxy", "*", "--request", "POST"),
            *("--url", f"{running.base_url}/v1/images/generations"),
            *("--header", f"Authorization: Bearer {KEY}", "--header", "Content-Type: application/json"),
            *("--data", json.dumps(request)),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    url = json.loads(shown)["data"][0]["url"]
    subprocess.run([str(CURL), "--silent", "--noproxy", "*", "-o", tmp_path / "trex.png", url], check=True)

    with Image.open(tmp_path / "trex.png") as image:
        assert image.size == (1536, 1024)


# The request that the OpenAI SDK for npm sends, with nothing but Node itself.
FETCH = """
const [url, key] = process.argv.slice(1)
const form = new FormData()
form.set("model", "openai/gpt-image-1-5")
form.set("prompt", "A boat")
form.append("image[]", new File([Buffer.from(process.env.IMAGE, "base64")], "cat.png", {type: "image/png"}))
const headers = {authorization: "Bearer " + key}
const answer = await fetch(url + "/v1/images/edits", {method: "POST", body: form, headers})
const body = await answer.json()
const image = await fetch(body.data[0].url)
console.log(answer.status, body.size, image.headers.get("content-type"), (await image.arrayBuffer()).byteLength > 1000)
"""


@pytest.mark.skipif(NODE is None, reason="needs Node")
def test_the_fetch_of_node_works(running: RunningEmulator) -> None:
    file = io.BytesIO()
    Image.new("RGB", (30, 20), "navy").save(file, "PNG")
    shown = subprocess.run(
        [str(NODE), "--input-type=module", "--eval", FETCH, running.base_url, KEY],
        env={"IMAGE": base64.b64encode(file.getvalue()).decode(), "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
    )

    assert (shown.stdout, shown.stderr) == ("200 1536x1024 image/png true\n", "")
