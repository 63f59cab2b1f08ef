"""Images as they come: into memory once, or into a file, and with nothing left behind."""

from __future__ import annotations

import asyncio
import base64
import gc
import io
import json
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from PIL import Image

from aimlapi_images import ImageClient, RetryPolicy, aiohttp_transport, errors
from conftest import KEY, PIXEL, scripted

NOISE = os.urandom(1_500_000)
LARGE = PIXEL[:-12] + len(NOISE).to_bytes(4, "big") + b"noIs" + NOISE + bytes(4) + PIXEL[-12:]
ENCODED = base64.b64encode(LARGE)
ANSWER = b'{"data": [{"b64_json": "' + ENCODED + b'"}], "meta": {"usage": {"usd_spent": 0.05}}}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)


@asynccontextmanager
async def server(*parts: bytes, waits: asyncio.Event | None = None) -> AsyncIterator[str]:
    """A server that says each part to each request; but before the last one, it sets `waits` and says no more."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                await reader.readexactly(length)
                for number, part in enumerate(parts, 1):
                    if number == len(parts) and waits is not None:
                        waits.set()
                        await asyncio.Future()
                    writer.write(part)
                    await writer.drain()
                if len(b"".join(parts)) < len(HEAD) + len(ANSWER):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()


def client_for(url: str, **settings: object) -> ImageClient:
    return ImageClient(KEY, base_url=url, retry=RetryPolicy(attempts=1), **settings)  # type: ignore[arg-type]


async def test_an_image_arrives_whole_in_memory_and_in_a_file(tmp_path: Path) -> None:
    async with server(HEAD, ANSWER) as url, client_for(url) as client:
        held, written = await asyncio.gather(client.generate("x"), client.generate("x", to=tmp_path / "fox"))

    assert held.data == LARGE
    assert (held.path, held.file_size) == (None, len(LARGE))
    assert written.path == tmp_path / "fox.png"
    assert written.path.read_bytes() == written.data == LARGE
    assert (written.file_size, written.sha256) == (len(LARGE), held.sha256)
    assert [each.name for each in tmp_path.iterdir()] == ["fox.png"]


async def test_a_jpeg_that_tells_its_size_far_behind_is_written(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (30, 20)).save(file, "JPEG", exif=b"Exif\0\0" + bytes(20_000))
    answer = {"data": [{"b64_json": base64.b64encode(file.getvalue()).decode()}]}
    client, _ = scripted(httpx.Response(200, json=answer))

    image = await client.generate("x", to=tmp_path / "fox")

    assert image.path == tmp_path / "fox.jpg"
    assert (image.width, image.height, image.data) == (30, 20, file.getvalue())


async def test_what_is_written_is_not_held(tmp_path: Path) -> None:
    async with server(HEAD, ANSWER) as url, client_for(url) as client:
        image = await client.generate("x", to=tmp_path / "fox")

    assert image.path is not None
    image.path.unlink()
    with pytest.raises(FileNotFoundError):
        _ = image.data


@pytest.mark.parametrize("make", [lambda: None, aiohttp_transport], ids=["httpx", "aiohttp"])
async def test_base64_is_held_once(make: Callable[[], httpx.AsyncBaseTransport | None]) -> None:
    """While an answer is read, it takes the bytes of the image, 4/3 of them for its base64, and a few buffers."""
    async with server(HEAD, ANSWER) as url, client_for(url, transport=make()) as client:
        await client.generate("x")  # loads the schema
        gc.collect()
        tracemalloc.start()
        try:
            image = await client.generate("x")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert image.data == LARGE
    assert peak < (1 + 4 / 3 + 1) * len(LARGE)


@pytest.mark.parametrize("fetched", [False, True])
async def test_an_order_cancelled_while_its_image_arrives_leaves_no_file(fetched: bool, tmp_path: Path) -> None:
    arriving, most = asyncio.Event(), len(ANSWER) * 3 // 4
    async with server(HEAD, ANSWER[:most], ANSWER[most:], waits=arriving) as url:
        by_url = httpx.Response(200, json={"data": [{"url": f"{url}/fox.png"}]})
        api = httpx.MockTransport(lambda request: by_url) if fetched else httpx.AsyncHTTPTransport()
        async with client_for(url, transport=api, download_transport=httpx.AsyncHTTPTransport()) as client:
            task = asyncio.create_task(client.generate("x", to=tmp_path / "fox"))
            async with asyncio.timeout(30):
                await arriving.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (ANSWER[:1_000_000], errors.OutcomeUnknownError),
        (ANSWER.replace(ENCODED[-9:-3], b"*" * 6), errors.DecodeError),
        (ANSWER.replace(ENCODED[:6], b"AAAAAA"), errors.DecodeError),
    ],
    ids=["cut off", "broken in the end", "no image"],
)
async def test_what_fails_leaves_no_file(body: bytes, kind: type[errors.ImageError], tmp_path: Path) -> None:
    async with server(HEAD, body) as url, client_for(url) as client:
        with pytest.raises(kind) as caught:
            await client.generate("x", to=tmp_path / "fox")

    assert caught.value.may_be_billed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", [b"", b'"', b'"}], "meta": {"usage": {"usd_sp', b'"}], "meta": nul}!'])
@pytest.mark.parametrize("closed", [False, True])
async def test_an_answer_cut_off_behind_its_image_is_delivered(end: bytes, closed: bool, tmp_path: Path) -> None:
    body = ANSWER[: ANSWER.index(ENCODED) + len(ENCODED)] + end
    head = b"HTTP/1.1 200 OK\r\n\r\n" if closed else HEAD
    async with server(head, body) as url, client_for(url) as client:
        image = await client.generate("x", to=tmp_path / "fox")

    assert image.data == LARGE


async def test_what_is_no_image_is_all_in_the_error(tmp_path: Path) -> None:
    async with server(HEAD, ANSWER.replace(ENCODED[:6], b"AAAAAA")) as url, client_for(url) as client:
        with pytest.raises(errors.DecodeError, match="the payload is not a valid image: 1,500,081 bytes") as caught:
            await client.generate("x", to=tmp_path / "fox")

    assert caught.value.data[6:] == LARGE[6:]


async def test_an_attempt_that_failed_leaves_nothing_for_the_next(tmp_path: Path) -> None:
    broken = {"data": [{"b64_json": base64.b64encode(b"other" * 100_000).decode()[:-1] + "*"}]}
    whole = {"data": [{"b64_json": ENCODED.decode()}]}
    answers = iter([httpx.Response(200, json=broken), httpx.Response(200, json=whole)])
    transport = httpx.MockTransport(lambda request: next(answers))
    retry = RetryPolicy(retry_unknown="always", first_wait=0.0)

    async with ImageClient(KEY, transport=transport, retry=retry) as client:
        image = await client.generate("x", to=tmp_path / "fox")

    assert (image.attempts, image.data) == (2, LARGE)
    assert [each.name for each in tmp_path.iterdir()] == ["fox.png"]


async def test_a_folder_that_goes_away_does_not_take_the_image_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()

    def answer(request: httpx.Request) -> httpx.Response:
        folder.rmdir()
        return httpx.Response(200, json=json.loads(ANSWER))

    client, _ = scripted(answer)

    with pytest.raises(errors.NotSavedError, match="could not be written: No such file") as caught:
        await client.generate("x", to=folder / "fox")

    assert caught.value.image.data == LARGE
    assert (caught.value.image.format, caught.value.image.path) == ("png", None)
