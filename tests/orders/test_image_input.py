"""What an edit puts on the wire, as a server receives it: byte for byte, and within bounds."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aimlapi_images import (
    ConnectionFailedError,
    ImageClient,
    InvalidRequestError,
    OutcomeUnknownError,
    RetryPolicy,
    aiohttp_transport,
    emulator,
    mask_from_box,
)
from aimlapi_images.orders import schema
from aimlapi_images.orders.edit import EditOrder, new_edit
from aimlapi_images.orders.uploads import UploadStream
from aimlapi_images.threads import Threads
from aimlapi_rest.api.images import edit_image
from aimlapi_rest.client import AuthenticatedClient
from aimlapi_rest.models import ImageEditRequest, ImageGenerationResponse
from aimlapi_rest.types import File
from conftest import KEY, PIXEL, PIXEL_ANSWER, Script, scripted

MODEL = "openai/gpt-image-1-5"


@contextmanager
def recorder() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A real server that keeps the headers and the body of each request, with `BOUNDARY` for its boundary."""
    received: list[tuple[dict[str, str], bytes]] = []

    async def keep(request: Request) -> Response:
        body = await request.body()
        boundary = request.headers["content-type"].partition("boundary=")[2].encode()
        received.append((dict(request.headers), body.replace(boundary, b"BOUNDARY")))
        return JSONResponse(PIXEL_ANSWER)

    with emulator.serve(Starlette(routes=[Route(schema.EDITS_PATH, keep, methods=["POST"])])) as running:
        yield running.base_url, received


def upload_of(order: EditOrder) -> UploadStream:
    """The body of an order's first attempt, as the client sends it."""
    return UploadStream(httpx.Request(**order.request(1)).stream, Threads())  # type: ignore[arg-type]  # sync, too


def encoded(format_: str, size: tuple[int, int] = (8, 6), mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, "teal").save(file, format_)
    return file.getvalue()


async def test_one_image_and_a_mask_byte_for_byte(tmp_path: Path) -> None:
    image, mask = encoded("JPEG"), tmp_path / "hole.png"
    mask_from_box(image, (0, 0, 4, 4)).save(mask)

    with recorder() as (url, received):
        async with ImageClient(KEY, base_url=url) as client:
            await client.edit(
                'Füchse,\r\n"two"', image=image, mask=mask, size="1024x1024", output_compression=7, order="o"
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
        b"Content-Type: image/png\r\n\r\n" + mask.read_bytes() + b"\r\n"
        b"--BOUNDARY--\r\n"
    )
    boundary = headers["content-type"].removeprefix("multipart/form-data; boundary=")
    assert re.fullmatch("[0-9a-f]{32}", boundary)
    assert int(headers["content-length"]) == len(body.replace(b"BOUNDARY", boundary.encode()))
    assert "transfer-encoding" not in headers
    assert headers["x-client-request-id"] == "o.1"
    assert headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("several", [False, True])
async def test_the_openai_sdk_sends_the_same_bytes(tmp_path: Path, several: bool) -> None:
    paths = [tmp_path / name for name in ("cat.png", 'Löwe "2".jpeg', "sky.webp")]
    for path, format_ in zip(paths, ("PNG", "JPEG", "WEBP"), strict=True):
        path.write_bytes(encoded(format_))
    mask = tmp_path / "mask.png"
    mask_from_box(paths[0], (1, 1, 3, 3)).save(mask)
    fields: dict[str, Any] = {
        "background": "opaque", "output_compression": 50, "output_format": "webp", "quality": "low",
        "response_format": "b64_json", "size": "1536x1024",
    }  # fmt: skip
    image: Any = paths if several else paths[0]

    with recorder() as (url, received):
        async with ImageClient(KEY, base_url=url) as client:
            await client.edit("Ein Löwe\n", image=image, mask=mask, **fields)
        async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1") as theirs:
            await theirs.images.edit(model=MODEL, prompt="Ein Löwe\n", image=image, mask=mask, **fields)

    (ours, our_body), (other, their_body) = received
    assert our_body == their_body
    assert our_body.count(b'name="image[]"') == (3 if several else 0)
    assert ours["content-length"] == other["content-length"]


@pytest.mark.parametrize(
    ("given", "format_", "expected"),
    [
        ("cat.jpg", "PNG", 'filename="cat.png"\r\nContent-Type: image/png'),
        ("cat", "WEBP", 'filename="cat.webp"\r\nContent-Type: image/webp'),
        ("cat.JPEG", "JPEG", 'filename="cat.JPEG"\r\nContent-Type: image/jpeg'),
        ("v1.2", "JPEG", 'filename="v1.2.jpg"\r\nContent-Type: image/jpeg'),
        ('a"b.png', "PNG", 'filename="a%22b.png"\r\nContent-Type: image/png'),
        ("a\r\nb.png", "PNG", 'filename="a%0D%0Ab.png"\r\nContent-Type: image/png'),
        ("\udcff.png", "PNG", 'filename="?.png"\r\nContent-Type: image/png'),
        (None, "PNG", 'filename="image.png"\r\nContent-Type: image/png'),
        (5, "JPEG", 'filename="image.jpg"\r\nContent-Type: image/jpeg'),
    ],
)
async def test_name_and_type_follow_the_bytes(given: object, format_: str, expected: str) -> None:
    class Named(io.BytesIO):
        name = given

    client, script = scripted()

    await client.edit("x", image=Named(encoded(format_)))

    assert f'name="image"; {expected}\r\n\r\n'.encode() in script.requests[0].content


async def test_a_file_is_sent_from_where_it_is_once() -> None:
    client, script = scripted()
    file = io.BytesIO(b"skipped" + encoded("PNG"))
    file.seek(7)

    await client.edit("x", image=file)

    assert b"\r\n\r\n" + encoded("PNG") + b"\r\n" in script.requests[0].content
    assert file.read() == b""


async def test_a_file_that_is_read_with_await_is_read() -> None:
    class Asynchronous:
        def __init__(self) -> None:
            self._file = io.BytesIO(encoded("PNG"))

        async def read(self, size: int = -1) -> bytes:
            return self._file.read(size)

    client, script = scripted()

    await client.edit("x", image=Asynchronous())  # type: ignore[arg-type]  # not promised

    assert encoded("PNG") in script.requests[0].content


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "F", "I;16", "RGBa", "La", "PA"]
)
async def test_a_pillow_image_of_any_mode_is_sent_as_a_png(mode: str) -> None:
    client, script = scripted()

    await client.edit("x", image=Image.new(mode, (5, 4)))

    body = script.requests[0].content
    data = body[body.index(b"\x89PNG") : body.index(b"IEND") + 8]
    with Image.open(io.BytesIO(data)) as sent:
        sent.load()
        assert sent.size == (5, 4)
        assert sent.has_transparency_data == (mode in ("LA", "RGBA", "RGBa", "La", "PA"))


async def test_a_large_jpeg_header_is_read_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (9, 7)).save(path, icc_profile=bytes(300_000), exif=Image.Exif())

    order = await new_edit("x", path, model=MODEL, parameters={})

    assert (order.images[0].format.width, order.images[0].format.height) == (9, 7)


async def test_bytes_that_change_later_are_sent_as_they_were() -> None:
    data = bytearray(encoded("PNG"))
    order = await new_edit("x", data, model=MODEL, parameters={})
    before = bytes(data)

    data[:] = bytes(len(data))

    assert order.images[0].content == before


# ---- Files that change between the check and the sending


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
async def test_a_file_that_has_changed_is_not_sent(tmp_path: Path, how: str, message: str) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(encoded("PNG"))
    arrived: list[httpx.Request] = []

    def fail_and_swap(request: httpx.Request) -> httpx.Response:
        arrived.append(request)
        swap(path, how)
        return httpx.Response(502)

    policy = RetryPolicy(first_wait=0.001, longest_wait=0.001)
    async with ImageClient(KEY, transport=Script(fail_and_swap).transport, retry=policy) as client:
        with pytest.raises(InvalidRequestError, match=message) as caught:
            await client.edit("x", image=path)

    assert str(path) in str(caught.value)
    assert len(arrived) == 1
    assert client.spending.unknown_outcomes == 0


@pytest.mark.parametrize("how", ["longer", "same size", "gone"])
async def test_a_file_that_changes_while_it_is_sent_is_never_sent_whole(tmp_path: Path, how: str) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(encoded("PNG") + bytes(800_000))
    order = await new_edit("x", path, model=MODEL, parameters={})
    pieces = aiter(upload_of(order))
    sent = await anext(pieces)

    swap(path, how)

    with pytest.raises(InvalidRequestError, match=r"has changed|cannot be read"):
        await anext(pieces)
    assert len(sent) < 500_000


@pytest.mark.parametrize("aiohttp", [False, True])
async def test_a_server_never_takes_half_a_file_for_a_whole_one(tmp_path: Path, aiohttp: bool) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(encoded("PNG") + bytes(8_000_000))
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


# ---- Connections that break


@contextmanager
def breaking(bytes_read: int, *, times: int) -> Iterator[tuple[str, list[int]]]:
    """A server that closes its first connections after so many bytes, and answers the next one."""
    arrived: list[int] = []
    over = threading.Event()

    def serve(listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            if over.is_set():
                connection.close()
                return
            with connection, connection.makefile("rb") as stream:
                arrived.append(0)
                if len(arrived) <= times:
                    arrived[-1] = len(stream.read(bytes_read))
                    continue
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += stream.readline()
                length = re.search(rb"(?i)content-length: (\d+)", head)
                assert length
                arrived[-1] = len(stream.read(int(length[1])))
                body = json.dumps(PIXEL_ANSWER).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", arrived
        over.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join()


async def test_an_upload_that_breaks_off_is_not_billed_and_sent_again(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(encoded("PNG") + bytes(20_000_000))

    with breaking(100_000, times=2) as (url, arrived):
        async with ImageClient(KEY, base_url=url, retry=RetryPolicy(first_wait=0.001, longest_wait=0.001)) as client:
            image = await client.edit("x", image=path)

    assert image.attempts == 3
    assert arrived[:2] == [100_000, 100_000]
    assert arrived[2] > 20_000_000
    assert client.spending.unknown_outcomes == 0


async def test_an_upload_that_breaks_off_for_good_says_so(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(encoded("PNG") + bytes(20_000_000))

    with breaking(100_000, times=9) as (url, _):
        async with ImageClient(KEY, base_url=url, retry=RetryPolicy(attempts=1)) as client:
            with pytest.raises(ConnectionFailedError, match="the upload broke off before its end") as caught:
                await client.edit("x", image=path)

    assert not caught.value.may_be_billed


async def test_an_upload_without_an_answer_has_an_unknown_outcome() -> None:
    with breaking(1_000, times=9) as (url, _):
        async with ImageClient(KEY, base_url=url, retry=RetryPolicy(attempts=3)) as client:
            with pytest.raises(OutcomeUnknownError):
                await client.edit("x", image=encoded("PNG") + bytes(2_000))

    assert client.spending.unknown_outcomes == 1


# ---- Bounds

UPLOAD = """
import asyncio, resource, sys
from pathlib import Path
from aimlapi_images import ImageClient

async def main():
    async with ImageClient("key", base_url=sys.argv[1]) as client:
        image = await client.edit("x", image=[Path(path) for path in sys.argv[2:]])
        assert image.attempts == 1

asyncio.run(main())
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
peak = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
print(peak[0] if peak else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="memory is asked for as POSIX systems tell it")
def test_16_images_of_10_mb_need_less_than_100_mb_of_memory(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(16)]
    for path in paths:
        path.write_bytes(encoded("PNG"))
        os.truncate(path, 10_000_000)
    sizes: list[int] = []

    async def count(request: Request) -> Response:
        sizes.append(0)
        async for chunk in request.stream():
            sizes[-1] += len(chunk)
        return JSONResponse(PIXEL_ANSWER)

    with emulator.serve(Starlette(routes=[Route(schema.EDITS_PATH, count, methods=["POST"])])) as running:
        command = [sys.executable, "-c", UPLOAD, running.base_url, *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert sizes[0] > 160_000_000
    assert int(done.stdout) < 100_000_000


async def test_no_piece_of_an_upload_is_large(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(encoded("PNG") + bytes(3_000_000))
    order = await new_edit("x", [path, path.read_bytes()], model=MODEL, parameters={})

    request = httpx.Request(**order.request(1))
    sizes = [len(piece) async for piece in upload_of(order)]

    assert max(sizes) <= 256 * 1024
    assert sum(sizes) == int(request.headers["Content-Length"])


# ---- The low-level client


async def test_the_low_level_client_edits_too(emulator_url: str) -> None:
    async with AuthenticatedClient(emulator_url, token=KEY) as client:
        request = ImageEditRequest(
            model="openai/gpt-image-1-5",
            prompt="x",
            image=[File(io.BytesIO(encoded("PNG")), "a.png", "image/png")],
            mask=File(io.BytesIO(_saved(mask_from_box(encoded("PNG"), (0, 0, 2, 2)))), "m.png", "image/png"),
        )
        answer = await edit_image.asyncio(client=client, body=request)

    assert isinstance(answer, ImageGenerationResponse)
    assert answer.data
    assert str(answer.data[0].url).startswith(emulator_url)


async def test_the_facade_asks_at_the_address_that_the_schema_names() -> None:
    body = ImageEditRequest(model="openai/gpt-image-1-5", prompt="x", image=[])
    generated = edit_image._get_kwargs(body=body, x_client_request_id="o.1")
    ours = (await new_edit("x", PIXEL, model=MODEL, parameters={}, order="o")).request(1)

    assert generated["method"].upper() == ours["method"]
    assert generated["url"] == ours["url"]
    assert generated["headers"]["X-Client-Request-Id"] == ours["headers"]["X-Client-Request-Id"]


def _saved(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
