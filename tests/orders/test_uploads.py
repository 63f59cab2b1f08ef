"""Files are sent as they were checked, in pieces, and nothing stays open."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from aimlapi_images import InvalidRequestError
from aimlapi_images.media.formats import ImageFormat
from aimlapi_images.orders.uploads import StoredFile, Upload, UploadStream, read_in_threads
from aimlapi_images.threads import Threads
from conftest import PIXEL

PNG = ImageFormat("png", 1, 1)


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads()
    yield threads
    threads.close()


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
    upload = UploadStream([b"x" * 65_536] * (size // 65_536) + [b"x" * (size % 65_536)] * (size % 65_536 > 0), threads)

    seen = [(len(piece), upload.sent_whole) async for piece in upload]

    assert sum(length for length, _ in seen) == size
    assert [whole for _, whole in seen] == [False] * (len(seen) - 1) + [True]
    assert all(length for length, _ in seen)


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


@pytest.mark.parametrize("how", ["longer", "shorter", "same size"])
async def test_a_changed_file_is_refused_before_the_first_byte(stored: StoredFile, how: str) -> None:
    match how:
        case "longer":
            os.truncate(stored.path, 600_001)
        case "shorter":
            os.truncate(stored.path, 599_999)
        case _:
            os.utime(stored.path, ns=(0, stored.modified + 1))

    with pytest.raises(InvalidRequestError, match=r"cat.png has changed since it was checked"):
        request_for(PIXEL, stored)


async def test_a_changed_file_is_refused_while_it_is_read(threads: Threads, stored: StoredFile) -> None:
    upload = upload_for(threads, stored, stored)
    pieces = aiter(upload)
    assert 0 < len(await anext(pieces)) < stored.size

    os.truncate(stored.path, 600_001)
    with pytest.raises(InvalidRequestError, match=r"cat.png has changed since it was checked") as caught:
        await anext(pieces)

    assert not upload.sent_whole
    assert upload.error is caught.value
