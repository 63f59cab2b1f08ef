"""The emulator is as strict as the schema, and survives bad requests."""

from __future__ import annotations

import json
import logging
import socket
from typing import Any

import httpx
import pytest

from aimlapi_images import emulator
from aimlapi_images.emulator import generation_body, order_endpoint
from conftest import KEY

MODEL = "openai/gpt-image-1-5"
VALID = {"model": MODEL, "prompt": "A fox"}
HEADERS = {"Authorization": f"Bearer {KEY}"}
PATH = "/v1/images/generations"


async def post(content: bytes, **headers: str) -> httpx.Response:
    transport = emulator.transport(drawing="plain")
    async with httpx.AsyncClient(transport=transport, base_url="http://emulator") as http:
        return await http.post(PATH, content=content, headers={**HEADERS, **headers})


def body(**fields: Any) -> bytes:
    return json.dumps({**VALID, **fields}).encode()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("image_size", "square", "Unrecognized key in object: 'image_size'"),
        ("num_images", 2, "Unrecognized key in object: 'num_images'"),
        ("aspect_ratio", "16:9", "Unrecognized key in object: 'aspect_ratio'"),
        ("user", "me", "Unrecognized key in object: 'user'"),
        ("stream", True, "Streaming is not supported"),
        ("n", 2, "Invalid enum value. Expected 1, received 2"),
        ("n", 1.5, "n must be a whole number, not 1.5"),
        ("n", True, "n must be a whole number, not True"),
        ("prompt", ["nested"] * 9, "prompt must be a string"),
        ("\ud800", 1, r"Unrecognized key in object: '\ud800'"),
    ],
)
async def test_what_the_model_lacks_is_refused(name: str, value: object, message: str) -> None:
    answer = await post(body(**{name: value}))

    details = answer.json()["meta"]
    assert (answer.status_code, details[0]["path"]) == (400, [name])
    assert message in details[0]["message"]


@pytest.mark.parametrize("n", [1, 1.0])
async def test_an_integer_may_be_written_as_json_schema_allows(n: float) -> None:
    assert (await post(body(n=n))).status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"model":' * 100_000,
        b'{"n": ' + b"1" * 5_000 + b"}",
        b'{"n": NaN, "prompt": Infinity}',
        b'{"prompt": "\\ud800"}',
        '{"prompt": "x"}'.encode("utf-16"),
        b"\0" * 99,
        b'{"model": [1], "prompt": {}}',
    ],
    ids=range(8),
)
async def test_any_body_gets_an_error_of_the_api(content: bytes) -> None:
    answer = await post(content)

    assert (answer.status_code, answer.json()["statusCode"], answer.json()["message"]) == (
        400, 400, "Body validation error!",
    )  # fmt: skip
    assert answer.headers["x-inference-id"]


async def test_a_prompt_that_is_not_valid_unicode_is_drawn() -> None:
    answer = await post(b'{"model": "openai/gpt-image-1-5", "prompt": "\\ud800", "response_format": "b64_json"}')

    assert answer.status_code == 200


async def test_a_body_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation_body, "_MAX_BODY", 1_000)

    answer = await post(body(prompt="x" * 2_000))

    assert (answer.status_code, answer.json()["message"]) == (413, "The body has more than the allowed 1,000 bytes.")


async def test_an_unexpected_error_has_the_form_of_the_api(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(order_endpoint, "image_answer", None)

    with caplog.at_level(logging.ERROR):
        answer = await post(body(), **{"X-Client-Request-Id": "mine"})

    said = answer.json()
    assert (answer.status_code, said["statusCode"], said["path"]) == (500, 500, PATH)
    assert (answer.headers["x-client-request-id"], len(said["requestId"])) == ("mine", 36)
    assert answer.headers["x-inference-id"]
    assert "NoneType" in caplog.text


@pytest.mark.parametrize("host", ["", "a b", "[::1", "x:99999999", "\xff", "<script>"])
def test_any_host_header_is_survived(emulator_url: str, host: str) -> None:
    address, _, port = emulator_url.removeprefix("http://").rpartition(":")
    content = body(quality="low")
    head = f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(content)}"
    with socket.create_connection((address, int(port))) as connection:
        connection.sendall(f"{head}\r\nConnection: close\r\n\r\n".encode("latin-1") + content)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.split(b"\r\n")[0] in (b"HTTP/1.1 200 OK", b"HTTP/1.1 400 Bad Request")
    assert b"<script>" not in answer


@pytest.mark.parametrize(
    "query", ["limit=" + "9" * 5_000, "limit=\u0665", "start=-1", "end=x", "status=lost", "nothing=1"]
)
async def test_a_wrong_query_is_an_error(query: str) -> None:
    async with httpx.AsyncClient(transport=emulator.transport(), base_url="http://emulator", headers=HEADERS) as http:
        answer = await http.get(f"/v2/logs?{query}")

    assert (answer.status_code, answer.json()["message"]) == (400, "Query validation error!")
    assert len(answer.content) < 500
