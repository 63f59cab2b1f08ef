"""Orders for images from other images: what is refused, and what goes on the wire."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aimlapi_images import ImageClient, InvalidRequestError, RetryPolicy, aiohttp_transport, emulator, mask_from_box
from aimlapi_images.orders import schema
from aimlapi_images.orders.edit import EditOrder
from aimlapi_images.threads import Threads
from aimlapi_rest.api.images import edit_image
from aimlapi_rest.client import AuthenticatedClient
from aimlapi_rest.models import ImageEditRequest, ImageGenerationResponse
from aimlapi_rest.types import File
from conftest import KEY, PIXEL, PIXEL_ANSWER, Script, scripted
from pictures import mask, plain, saved

MODEL = "openai/gpt-image-1-5"


# ---- Requests that are refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: {"image": []}, "image must be one image or a list of 1 to 16, got 0"),
        (lambda: {"image": [PIXEL] * 17}, "image must be one image or a list of 1 to 16, got 17"),
        (lambda: {"image": [PIXEL, b"GIF"]}, "image 2 must be png or jpeg or webp: 3 bytes"),
        (lambda: {"image": [[PIXEL]]}, "image must be a path, bytes, a file"),
        (lambda: {"image": plain() + bytes(50_000_000)}, "image has more than the allowed 49,999,999 bytes"),
        (lambda: {"mask": [mask()]}, "mask must be a path, bytes, a file"),
        (lambda: {"mask": "missing.png"}, "missing.png cannot be read"),
        (lambda: {"mask": plain("JPEG")}, "mask must be png, but its bytes are jpeg"),
        (lambda: {"mask": saved(mask()) + bytes(4_000_000)}, "mask has more than the allowed 3,999,999 bytes"),
        (lambda: {"mask": plain()}, "the mask has no alpha channel"),
        (lambda: {"mask": mask((12, 11))}, "the mask is 12x11 and the first image is 12x10: they must be the same"),
        (lambda: {"options": {"n": 11}}, "n .*11"),
        (lambda: {"options": {"image": "y"}}, "options cannot set image: pass it as an argument"),
        (lambda: {"options": {"image[]": "y"}}, r"options cannot set image\[\]"),
        (lambda: {"options": {"mask": "y"}}, "options cannot set mask"),
        (lambda: {"extra_body": {"tags": ["a"]}}, r"tags must be text, a finite number, true or false, got \['a'\]"),
        (lambda: {"extra_body": {"tags": None}}, "tags must be text, a finite number, true or false, got None"),
        (lambda: {"extra_body": {"share": float("nan")}}, "field 'share' cannot be sent: .*float"),
        (lambda: {"extra_body": {"mask": "y"}}, "extra_body cannot set mask: pass it as an argument"),
        (lambda: {"deadline": 0}, "deadline"),
    ],
)
async def test_an_invalid_request_is_not_sent(make: Callable[[], dict[str, Any]], message: str) -> None:
    client, script = scripted()

    with pytest.raises(InvalidRequestError, match=message):
        await client.edit(**{"prompt": "x", "image": plain(), **make()})

    assert script.requests == []


async def test_an_invalid_request_does_not_use_up_a_file_object() -> None:
    client, _ = scripted()
    file = io.BytesIO(plain())

    with pytest.raises(InvalidRequestError, match="size"):
        await client.edit("x", image=file, size="1x1")

    assert file.tell() == 0


async def test_only_masks_need_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    image, drawn = plain(), saved(mask())
    monkeypatch.setitem(sys.modules, "PIL", None)
    client, script = scripted()

    await client.edit("x", image=image)
    with pytest.raises(InvalidRequestError, match='a mask needs the extra "images"'):
        await client.edit("x", image=image, mask=drawn)

    assert len(script.requests) == 1


def test_the_limits_come_from_the_schema() -> None:
    assert schema.edit_files("image[]") == schema.FileRules(16, 49_999_999, ("png", "jpeg", "webp"))
    assert schema.edit_files("mask") == schema.FileRules(1, 3_999_999, ("png",))
    assert schema.models("edits") == (MODEL,)


# ---- What a server receives


@contextmanager
def recorder() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A real server that keeps the headers and the body of each request, with the boundary replaced by `BOUNDARY`."""
    received: list[tuple[dict[str, str], bytes]] = []

    async def keep(request: Request) -> Response:
        body = await request.body()
        boundary = request.headers["content-type"].partition("boundary=")[2].encode()
        received.append((dict(request.headers), body.replace(boundary, b"BOUNDARY")))
        return JSONResponse(PIXEL_ANSWER)

    with emulator.serve(Starlette(routes=[Route(schema.EDITS_PATH, keep, methods=["POST"])])) as running:
        yield running.base_url, received


async def test_one_image_and_a_mask_byte_for_byte(tmp_path: Path) -> None:
    image, hole = plain("JPEG"), tmp_path / "hole.png"
    mask_from_box(image, (0, 0, 4, 4)).save(hole)

    with recorder() as (url, received):
        async with ImageClient(KEY, base_url=url) as client:
            await client.edit(
                'Füchse,\r\n"two"', image=image, mask=hole, size="1024x1024", output_compression=7, order="o"
            )

    ((headers, body),) = received
    assert body == (
        b'--BOUNDARY\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nF\xc3\xbcchse,\r\n"two"\r\n'
        b'--BOUNDARY\r\nContent-Disposition: form-data; name="model"\r\n\r\nopenai/gpt-image-1-5\r\n'
        b'--BOUNDARY\r\nContent-Disposition: form-data; name="output_compression"\r\n\r\n7\r\n'
        b'--BOUNDARY\r\nContent-Disposition: form-data; name="size"\r\n\r\n1024x1024\r\n'
        b'--BOUNDARY\r\nContent-Disposition: form-data; name="image"; filename="image.jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n" + image + b"\r\n"
        b'--BOUNDARY\r\nContent-Disposition: form-data; name="mask"; filename="hole.png"\r\n'
        b"Content-Type: image/png\r\n\r\n" + hole.read_bytes() + b"\r\n"
        b"--BOUNDARY--\r\n"
    )
    boundary = headers["content-type"].removeprefix("multipart/form-data; boundary=")
    assert re.fullmatch("[0-9a-f]{32}", boundary)
    assert int(headers["content-length"]) == len(body.replace(b"BOUNDARY", boundary.encode()))
    assert "transfer-encoding" not in headers
    assert re.fullmatch(r"o\.[0-9a-f]{8}\.1", headers["x-client-request-id"])
    assert headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("several", [False, True])
async def test_the_openai_sdk_sends_the_same_bytes(tmp_path: Path, several: bool) -> None:
    paths = [tmp_path / name for name in ("cat.png", 'Löwe "2".jpeg', "sky.webp")]
    for path, format_ in zip(paths, ("PNG", "JPEG", "WEBP"), strict=True):
        path.write_bytes(plain(format_))
    hole = tmp_path / "mask.png"
    mask_from_box(paths[0], (1, 1, 3, 3)).save(hole)
    fields: dict[str, Any] = {
        "background": "opaque", "output_compression": 50, "output_format": "webp", "quality": "low",
        "response_format": "b64_json", "size": "1536x1024",
    }  # fmt: skip
    image: Any = paths if several else paths[0]

    with recorder() as (url, received):
        async with ImageClient(KEY, base_url=url) as client:
            await client.edit("Ein Löwe\n", image=image, mask=hole, **fields)
        async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1") as theirs:
            await theirs.images.edit(model=MODEL, prompt="Ein Löwe\n", image=image, mask=hole, **fields)

    (ours, our_body), (other, their_body) = received
    assert our_body == their_body
    assert our_body.count(b'name="image[]"') == (3 if several else 0)
    assert ours["content-length"] == other["content-length"]


async def test_the_request_is_that_of_the_schema(threads: Threads) -> None:
    body = ImageEditRequest(model=MODEL, prompt="x", image=[])  # type: ignore[arg-type]
    generated = edit_image._get_kwargs(body=body, x_client_request_id="o.1")
    order = EditOrder.new("x", model=MODEL, parameters={}, order="o")
    ours = (await order.with_images(PIXEL, None, threads)).request("o.1")

    assert generated["method"].upper() == ours["method"]
    assert generated["url"] == ours["url"]
    assert generated["headers"]["X-Client-Request-Id"] == ours["headers"]["X-Client-Request-Id"]


async def test_the_low_level_client_edits_too(emulator_url: str) -> None:
    async with AuthenticatedClient(emulator_url, token=KEY) as client:
        request = ImageEditRequest(
            model="openai/gpt-image-1-5",
            prompt="x",
            image=[File(io.BytesIO(plain()), "a.png", "image/png")],
            mask=File(io.BytesIO(saved(mask())), "m.png", "image/png"),
        )
        answer = await edit_image.asyncio(client=client, body=request)

    assert isinstance(answer, ImageGenerationResponse)
    assert answer.data
    assert str(answer.data[0].url).startswith(emulator_url)


# ---- Files that change after they were checked


def swap(path: Path, how: str) -> None:
    before = path.stat()
    match how:
        case "longer":
            path.write_bytes(path.read_bytes() + b"more")
        case "same size":
            path.write_bytes(path.read_bytes()[::-1])
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))
        case "gone":
            path.unlink()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("longer", "has changed since it was checked"),
        ("same size", "has changed since it was checked"),
        ("gone", "cannot be read: No such file"),
    ],
)
async def test_a_changed_file_is_not_sent_again(tmp_path: Path, how: str, message: str) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(plain())
    received: list[httpx.Request] = []

    def fail_and_swap(request: httpx.Request) -> httpx.Response:
        received.append(request)
        swap(path, how)
        return httpx.Response(502, json={"message": "Later."})

    policy = RetryPolicy(first_wait=0.001, longest_wait=0.001)
    async with ImageClient(KEY, transport=Script(fail_and_swap).transport, retry=policy) as client:
        with pytest.raises(InvalidRequestError, match=message) as caught:
            await client.edit("x", image=path)

    assert str(path) in str(caught.value)
    assert len(received) == 1
    assert client.spending.unknown_outcomes == 0


@pytest.mark.parametrize("aiohttp", [False, True])
async def test_a_file_that_changes_during_the_upload_is_never_received_whole(tmp_path: Path, aiohttp: bool) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(plain() + bytes(8_000_000))
    whole: list[int] = []

    async def swap_at_the_first_bytes(request: Request) -> Response:
        size = 0
        async for chunk in request.stream():
            if not size:
                swap(path, "longer")
            size += len(chunk)
        whole.append(size)
        return JSONResponse(PIXEL_ANSWER)

    routes = [Route(schema.EDITS_PATH, swap_at_the_first_bytes, methods=["POST"])]
    with emulator.serve(Starlette(routes=routes)) as running:
        transport = aiohttp_transport() if aiohttp else None
        retry = RetryPolicy(attempts=1)
        async with ImageClient(KEY, base_url=running.base_url, transport=transport, retry=retry) as client:
            with pytest.raises(InvalidRequestError, match="has changed"):
                await client.edit("x", image=path)

    assert whole == []
    assert client.spending.unknown_outcomes == 0


async def test_relative_files_are_found_after_the_working_directory_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: Threads
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cat.png").write_bytes(plain())
    order = await EditOrder.new("x", model=MODEL, parameters={}).with_images("cat.png", None, threads)

    monkeypatch.chdir("/")

    assert plain() in httpx.Request(**order.request("o.1")).read()
