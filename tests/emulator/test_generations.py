"""The emulator behaves as the API is documented to."""

from __future__ import annotations

import base64
import io
import re
import socket
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from PIL import Image

from aimlapi_images import emulator
from aimlapi_images.emulator import image_store
from aimlapi_images.emulator.drawing.landscape import draw
from aimlapi_images.emulator.drawing.paint import paint
from aimlapi_images.emulator.drawing.picture import Picture, encode
from conftest import KEY

MODEL = "openai/gpt-image-1-5"
HEADERS = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture
def http(emulator_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=emulator_url, headers=HEADERS, timeout=60) as client:
        yield client


def ask(http: httpx.Client, **fields: Any) -> httpx.Response:
    return http.post("/v1/images/generations", json={"model": MODEL, "prompt": "A fox", **fields})


def picture(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_a_response_has_the_documented_form(http: httpx.Client) -> None:
    answer = ask(http)

    body = answer.json()
    assert answer.status_code == 200
    assert isinstance(body.pop("created"), int)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/generations/emulated/[0-9a-f]{32}\.png", body["data"][0].pop("url"))
    assert body == {
        "background": "opaque",
        "data": [{}],
        "output_format": "png",
        "quality": "medium",
        "size": "1024x1024",
        "meta": {"usage": {"credits_used": 68_000, "usd_spent": 0.034}},
    }


def test_ids_and_cost_come_as_headers(http: httpx.Client) -> None:
    answer = http.post(
        "/v1/images/generations",
        json={"model": MODEL, "prompt": "x"},
        headers={"X-Client-Request-Id": "mine:1.1"},
    )

    assert answer.headers["x-client-request-id"] == "mine:1.1"
    assert len(answer.headers["x-inference-id"]) == 36
    assert answer.headers["x-aimlapi-credits-used"] == "68000"
    assert answer.headers["x-aimlapi-usd-spent"] == "0.034"


@pytest.mark.parametrize("request_id", ["with space", "a" * 129, "ümlaut".encode()])
def test_an_invalid_request_id_is_silently_dropped(http: httpx.Client, request_id: str) -> None:
    answer = http.post(
        "/v1/images/generations", json={"model": MODEL, "prompt": "x"}, headers={"X-Client-Request-Id": request_id}
    )

    assert answer.status_code == 200
    assert "x-client-request-id" not in answer.headers


def test_the_path_works_without_v1(http: httpx.Client) -> None:
    answer = http.post("/images/generations", json={"model": MODEL, "prompt": "x"})

    assert answer.status_code == 200


def test_images_are_fetched_without_a_key(http: httpx.Client) -> None:
    url = ask(http).json()["data"][0]["url"]

    image = httpx.get(url, timeout=60)

    assert image.headers["content-type"] == "image/png"
    assert picture(image.content).size == (1024, 1024)


def test_old_urls_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store, "_IMAGES_KEPT", 2)
    with emulator.serve() as running, httpx.Client(base_url=running.base_url, headers=HEADERS, timeout=60) as http:
        urls = [ask(http, prompt=prompt, quality="low").json()["data"][0]["url"] for prompt in "abc"]
        found = [http.get(url).status_code for url in urls]

    assert found == [404, 200, 200]


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Basic abc", "Bearer wrong"])
def test_a_wrong_key_is_refused(emulator_url: str, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}

    answer = httpx.post(f"{emulator_url}/v1/images/generations", json={}, headers=headers)

    body = answer.json()
    assert answer.status_code == 401
    assert body["message"].startswith("This request requires a valid API key.")
    assert (body["statusCode"], body["path"]) == (401, "/v1/images/generations")
    assert datetime.fromisoformat(body["timestamp"])
    assert len(body["requestId"]) == 36
    assert answer.headers["x-inference-id"]


@pytest.mark.parametrize(
    ("fields", "details"),
    [
        ({"size": "1x1"}, ["Invalid enum value. Expected '1024x1024' | '1024x1536' | '1536x1024', received '1x1'"]),
        ({"prompt": ""}, ["prompt is empty", "prompt is empty"]),
        ({"prompt": None}, ["prompt must be a string, not None"]),
        ({"output_compression": 101}, ["output_compression must be at most 100, not 101"]),
        (
            {"background": "transparent", "output_format": "jpeg"},
            ['background "transparent" needs output_format "png" or "webp"'],
        ),
    ],
)
def test_bodies_are_validated_by_the_schema(http: httpx.Client, fields: dict[str, Any], details: list[str]) -> None:
    answer = ask(http, **fields)

    assert answer.status_code == 400
    assert answer.json()["message"] == "Body validation error!"
    assert [detail["message"] for detail in answer.json()["meta"]] == details


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 400, "Body validation error!"),
        (b"[]", 400, "Body validation error!"),
        (b"{", 400, "Body validation error!"),
        (b"\xff", 400, "Body validation error!"),
        (b'{"model": "openai/gpt-image-1-5"}', 400, "Body validation error!"),
        (b'{"model": "acme/nothing", "prompt": "x"}', 404, "There is no model 'acme/nothing' for this endpoint."),
    ],
)
def test_other_bodies_are_refused(http: httpx.Client, content: bytes, status: int, message: str) -> None:
    answer = http.post("/v1/images/generations", content=content)

    assert (answer.status_code, answer.json()["message"]) == (status, message)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/nothing", 404), ("GET", "/v1/images/generations", 405)]
)
def test_other_paths_respond_in_the_same_form(http: httpx.Client, method: str, path: str, status: int) -> None:
    answer = http.request(method, path)

    assert (answer.status_code, answer.json()["statusCode"], answer.json()["path"]) == (status, status, path)


def test_size_and_format_are_applied(http: httpx.Client) -> None:
    for size, output_format in [("1024x1536", "jpeg"), ("1536x1024", "webp")]:
        entry = ask(http, size=size, output_format=output_format, response_format="b64_json").json()["data"][0]
        image = picture(base64.b64decode(entry["b64_json"]))

        assert image.format == output_format.upper()
        assert "x".join(map(str, image.size)) == size


def test_compression_is_applied() -> None:
    for output_format in ("jpeg", "webp"):
        sizes = [len(paint(Picture("A fox", output_format=output_format, compression=level))) for level in (0, 50, 100)]
        assert sizes == sorted(sizes)
        assert sizes[2] > 2 * sizes[0]


@pytest.mark.parametrize("output_format", ["png", "webp"])
def test_a_transparent_background_is_transparent(output_format: str) -> None:
    image = picture(paint(Picture("A fox", output_format=output_format, transparent=True)))

    alpha = image.convert("RGBA").getchannel("A")
    assert alpha.getextrema() == (0, 255)
    assert alpha.crop((0, 100, 1024, 200)).getextrema() == (0, 0)
    assert picture(paint(Picture("A fox", output_format=output_format))).mode == "RGB"


def test_pictures_are_deterministic_and_differ_between_prompts() -> None:
    first = paint(Picture("A fox"))

    assert encode(draw(Picture("A fox")), Picture("A fox")) == first
    assert paint(Picture("A wolf")) != first
    assert paint(Picture("A fox", quality="high")) != first


def test_a_picture_has_a_badge_and_a_caption() -> None:
    image = picture(paint(Picture("A fox"))).convert("RGB")

    def share(box: tuple[int, int, int, int], color: tuple[int, int, int]) -> float:
        pixels = image.crop(box).tobytes()
        near = [
            all(abs(a - b) < 12 for a, b in zip(pixels[i : i + 3], color, strict=True))
            for i in range(0, len(pixels), 3)
        ]
        return sum(near) / len(near)

    assert share((30, 30, 280, 50), (255, 206, 64)) > 0.5
    assert share((40, 950, 140, 990), (250, 248, 240)) > 0.01


@pytest.mark.parametrize(
    "prompt", ["x" * 32_000, "word " * 6_000, "日本語のプロンプト", "e\u0301", "\u202e\n\t\0", "👩‍🚀"]
)
def test_any_prompt_can_be_a_caption(prompt: str) -> None:
    assert picture(paint(Picture(prompt, quality="low"))).size == (1024, 1024)


def test_a_taken_port_raises_in_the_caller() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        running = emulator.serve(port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            running.__enter__()
