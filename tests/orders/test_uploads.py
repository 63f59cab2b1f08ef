"""Uploads: sent as they were checked, in pieces, with no file left open."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aimlapi_images import (
    AuthenticationError,
    ConnectionFailedError,
    ImageClient,
    InvalidRequestError,
    OutcomeUnknownError,
    RetryPolicy,
    aiohttp_transport,
    emulator,
)
from aimlapi_images.media.formats import ImageFormat
from aimlapi_images.orders import schema
from aimlapi_images.orders.uploads import StoredFile, Upload, UploadStream, read_in_threads
from aimlapi_images.threads import Threads
from conftest import KEY, PIXEL, PIXEL_ANSWER

PNG = ImageFormat("png", 1, 1)


@pytest.fixture
def stored(tmp_path: Path) -> StoredFile:
    """A file of 600,000 bytes."""
    path = tmp_path / "cat.png"
    path.write_bytes(PIXEL + bytes(600_000 - len(PIXEL)))
    return StoredFile(path, 600_000, path.stat().st_mtime_ns)


def request_for(*contents: bytes | StoredFile) -> httpx.Request:
    files: Any = [("image[]", Upload("cat.png", PNG, content).part()) for content in contents]
    return httpx.Request("POST", "https://a/b", data={"prompt": "x"}, files=files)


def upload_for(threads: Threads, *contents: bytes | StoredFile) -> UploadStream:
    request = request_for(*contents)
    read_in_threads(request, threads)
    assert isinstance(request.stream, UploadStream)
    return request.stream


def open_files() -> list[str]:
    """The files that this process has open, where the system tells."""
    folder = Path("/proc/self/fd")
    links = folder.iterdir() if folder.is_dir() else ()
    return [str(link.readlink()) for link in links if os.path.lexists(link)]


# ---- The body


async def test_httpx_knows_the_length_of_the_body(threads: Threads, stored: StoredFile) -> None:
    request = request_for(stored, PIXEL)
    read_in_threads(request, threads)

    body = await request.aread()

    assert int(request.headers["content-length"]) == len(body)
    assert "transfer-encoding" not in request.headers
    assert body.count(stored.path.read_bytes() + b"\r\n--") == 1
    assert body.count(b"\r\n\r\n" + PIXEL + b"\r\n--") == 1


def test_a_body_in_memory_stays_as_it_is(threads: Threads) -> None:
    request = httpx.Request("POST", "https://a/b", json={})
    before = request.stream

    read_in_threads(request, threads)

    assert request.stream is before


async def test_every_iteration_sends_the_whole_body(threads: Threads, stored: StoredFile) -> None:
    upload = upload_for(threads, stored, PIXEL)

    await anext(aiter(upload))  # broken off
    first, second = [b"".join([piece async for piece in upload]) for _ in range(2)]

    assert first == second
    assert stored.path.read_bytes() in first


async def test_only_the_last_piece_makes_an_upload_whole(threads: Threads, stored: StoredFile) -> None:
    upload = upload_for(threads, stored)

    for _ in range(2):
        whole = [upload.sent_whole async for _ in upload]
        assert whole == [False] * (len(whole) - 1) + [True]
        assert len(whole) > 2

    await anext(aiter(upload))
    assert not upload.sent_whole


@pytest.mark.parametrize("size", [262_144 - 40, 262_144, 65_536 * 4, 65_536 * 4 + 1, 1])
async def test_the_last_piece_is_known_wherever_the_body_ends(threads: Threads, size: int) -> None:
    """Also where the body ends together with a full piece."""
    pieces = [b"x" * 65_536] * (size // 65_536) + [b"x" * (size % 65_536)] * (size % 65_536 > 0)
    upload = UploadStream(pieces, threads)

    seen = [(len(piece), upload.sent_whole) async for piece in upload]

    assert sum(length for length, _ in seen) == size
    assert [whole for _, whole in seen] == [False] * (len(seen) - 1) + [True]
    assert all(length for length, _ in seen)


async def test_a_small_upload_is_one_piece(threads: Threads) -> None:
    """So that it is sent before the answer of a server that refuses it at once closes the connection."""
    assert len([piece async for piece in upload_for(threads, PIXEL, PIXEL)]) == 1


async def test_no_piece_is_large(threads: Threads, stored: StoredFile) -> None:
    upload = upload_for(threads, stored, bytes(3_000_000))

    assert max([len(piece) async for piece in upload]) <= 256 * 1024


@pytest.mark.parametrize("ending", ["whole", "broken off", "file gone", "cancelled"])
async def test_no_file_stays_open(threads: Threads, stored: StoredFile, ending: str) -> None:
    upload = upload_for(threads, stored)
    pieces = aiter(upload)
    await anext(pieces)
    match ending:
        case "whole":
            async for _ in pieces:
                pass
        case "file gone":
            stored.path.unlink()
            with pytest.raises(InvalidRequestError):
                async for _ in pieces:
                    pass
        case "cancelled":
            task = asyncio.ensure_future(anext(pieces))
            await asyncio.sleep(0)  # it waits for the thread now
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            threads._pool.shutdown(wait=True)

    # The iterator is still referenced, as by the traceback of an error.
    assert [name for name in open_files() if "cat.png" in name] == []
    assert upload.sent_whole == (ending == "whole")
    await pieces.aclose()  # type: ignore[attr-defined]


# ---- Files that change


@pytest.mark.parametrize("how", ["longer", "shorter", "same size"])
async def test_a_changed_file_is_refused_before_the_first_byte(threads: Threads, stored: StoredFile, how: str) -> None:
    match how:
        case "longer":
            os.truncate(stored.path, 600_001)
        case "shorter":
            os.truncate(stored.path, 599_999)
        case _:
            os.utime(stored.path, ns=(0, stored.modified + 1))

    with pytest.raises(InvalidRequestError, match=r"cat.png has changed since it was checked"):
        await anext(aiter(upload_for(threads, PIXEL, stored)))


async def test_a_changed_file_is_refused_while_it_is_read(threads: Threads, stored: StoredFile) -> None:
    upload = upload_for(threads, stored, stored)
    pieces = aiter(upload)
    assert 0 < len(await anext(pieces)) < stored.size

    os.truncate(stored.path, 600_001)
    with pytest.raises(InvalidRequestError, match=r"cat.png has changed since it was checked") as caught:
        await anext(pieces)

    assert not upload.sent_whole
    assert upload.error is caught.value


# ---- Connections that break


@contextmanager
def breaking(bytes_read: int, *, times: int, said: bytes = b"") -> Iterator[tuple[str, list[int]]]:
    """A server that says something and closes its first connections after some bytes, and answers the next one."""
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
                    connection.sendall(said)
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


async def test_an_upload_that_breaks_off_is_sent_again(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(PIXEL + bytes(20_000_000))

    with breaking(100_000, times=2) as (url, arrived):
        async with ImageClient(KEY, base_url=url, retry=RetryPolicy(first_wait=0.001, longest_wait=0.001)) as client:
            image = await client.edit("x", image=path)

    assert image.attempts == 3
    assert arrived[:2] == [100_000, 100_000]
    assert arrived[2] > 20_000_000
    assert client.spending.unknown_outcomes == 0


async def test_an_upload_that_breaks_off_for_good_is_not_billed(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(PIXEL + bytes(20_000_000))

    with breaking(100_000, times=9) as (url, _):
        async with ImageClient(KEY, base_url=url, retry=RetryPolicy(attempts=1)) as client:
            with pytest.raises(ConnectionFailedError, match="the upload broke off") as caught:
                await client.edit("x", image=path)

    assert not caught.value.may_be_billed


@pytest.mark.parametrize("make", [lambda: None, aiohttp_transport], ids=["httpx", "aiohttp"])
async def test_a_small_upload_that_is_refused_unread_is_told_why(
    make: Callable[[], httpx.AsyncBaseTransport | None],
) -> None:
    refusal = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"
    with breaking(100, times=99, said=refusal) as (url, _):
        async with ImageClient(KEY, base_url=url, transport=make(), retry=RetryPolicy(attempts=1)) as client:
            for _ in range(20):
                with pytest.raises(AuthenticationError):
                    await client.edit("x", image=PIXEL + bytes(20_000))


async def test_an_upload_without_an_answer_has_an_unknown_outcome() -> None:
    with breaking(1_000, times=9) as (url, _):
        async with ImageClient(KEY, base_url=url, retry=RetryPolicy(attempts=3)) as client:
            with pytest.raises(OutcomeUnknownError):
                await client.edit("x", image=PIXEL + bytes(2_000))

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


@pytest.mark.skipif(sys.platform == "win32", reason="memory is measured with POSIX calls")
def test_16_images_of_10_mb_need_less_than_100_mb_of_memory(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(16)]
    for path in paths:
        path.write_bytes(PIXEL)
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
