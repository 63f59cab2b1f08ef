"""Sinks: complete images in memory and in files, and nothing lost or left behind on failure."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from PIL import Image

from aimlapi_images.media.formats import ImageFormat
from aimlapi_images.media.sinks import PIECE_BYTES, ImageFile, Sink, SinkSet
from aimlapi_images.threads import Threads
from conftest import PIXEL

PIECES = [PIXEL, b"", b"x" * 1000, b"y" * 300_000, b"z"]
WHOLE = b"".join(PIECES)
PNG = ImageFormat("png", 1, 1)


@pytest.fixture
def threads() -> Iterator[Threads]:
    pool = Threads()
    yield pool
    pool._pool.shutdown()  # waits for the threads, unlike `close`


@asynccontextmanager
async def opened(folder: Path, threads: Threads, piece_bytes: int = PIECE_BYTES) -> AsyncIterator[Sink]:
    """A sink for `fox` in the folder, discarded at the end as those of an order are."""
    sink = Sink(folder / "fox", threads, piece_bytes=piece_bytes)
    try:
        yield sink
    finally:
        await sink.discard()


async def fill(sink: Sink) -> None:
    for piece in PIECES:
        sink.write(piece)
        await sink.drain()


@pytest.mark.parametrize("to_file", [False, True])
async def test_a_finished_image_has_all_bytes_and_its_format(tmp_path: Path, threads: Threads, to_file: bool) -> None:
    async with SinkSet(tmp_path / "fox" if to_file else None, threads) as sinks:
        sink = sinks.open()
        await fill(sink)
        image = await sink.finish()
        assert await sink.rescue() == WHOLE
        assert (image.format, image.size, sink.size) == (PNG, len(WHOLE), len(WHOLE))

    if to_file:
        assert (image.data, image.path) == (None, tmp_path / "fox.png")
        assert (tmp_path / "fox.png").read_bytes() == WHOLE
    else:
        assert (image.data, image.path) == (WHOLE, None)
    assert len(list(tmp_path.iterdir())) == to_file


@pytest.mark.parametrize("to_file", [False, True])
async def test_bytes_that_are_not_an_image_are_rescued(tmp_path: Path, threads: Threads, to_file: bool) -> None:
    async with SinkSet(tmp_path / "fox" if to_file else None, threads) as sinks:
        sink = sinks.open()
        sink.write(b"<html>")
        with pytest.raises(ValueError, match="6 bytes that"):
            await sink.finish()
        assert await sink.rescue() == b"<html>"

    assert list(tmp_path.iterdir()) == []


async def test_images_of_one_answer_are_numbered(tmp_path: Path, threads: Threads) -> None:
    (tmp_path / "fox-2.webp").touch()
    async with SinkSet(tmp_path / "fox.png", threads) as sinks:
        for number in (1, 2):
            sink = sinks.open()
            await fill(sink)
            await sink.finish(number)

    assert {path.name for path in tmp_path.iterdir()} == {"fox.png", "fox-2.webp", "fox-3.png"}


async def test_a_discarded_memory_sink_is_empty(threads: Threads) -> None:
    async with SinkSet(None, threads) as sinks:
        sink = sinks.open()
        await fill(sink)
        await sinks.discard()

    assert (sink.size, await sink.rescue()) == (0, b"")


async def test_discarding_a_set_keeps_finished_files_only(tmp_path: Path, threads: Threads) -> None:
    async with SinkSet(tmp_path / "fox", threads) as sinks:
        finished, unfinished = sinks.open(), sinks.open()
        for sink in (finished, unfinished):
            sink.write(PIXEL + bytes(PIECE_BYTES))
            await sink.drain()
        await finished.finish()
        assert len(list(tmp_path.iterdir())) == 2

    assert [path.name for path in tmp_path.iterdir()] == ["fox.png"]


@pytest.mark.parametrize("piece_bytes", [1, 1000, 2**20])
async def test_pieces_of_any_size_make_the_same_file(tmp_path: Path, threads: Threads, piece_bytes: int) -> None:
    async with opened(tmp_path, threads, piece_bytes) as sink:
        await fill(sink)
        image = await sink.finish()
        assert await sink.finish() == image

    assert image == ImageFile(PNG, len(WHOLE), path=tmp_path / "fox.png")
    assert (tmp_path / "fox.png").read_bytes() == WHOLE
    assert len(list(tmp_path.iterdir())) == 1


async def test_a_jpeg_may_have_its_size_far_behind_its_beginning(tmp_path: Path, threads: Threads) -> None:
    file = io.BytesIO()
    Image.new("RGB", (30, 20)).save(file, "JPEG", exif=b"Exif\0\0" + bytes(20_000))
    async with opened(tmp_path, threads) as sink:
        sink.write(file.getvalue())
        image = await sink.finish()

    assert (image.format, image.path) == (ImageFormat("jpeg", 30, 20), tmp_path / "fox.jpg")


async def test_drain_leaves_less_than_a_piece_in_memory(tmp_path: Path, threads: Threads) -> None:
    async with opened(tmp_path, threads, piece_bytes=1000) as sink:
        for _ in range(10):
            sink.write(b"x" * 999)
            await sink.drain()
        on_disk = sum(path.stat().st_size for path in tmp_path.iterdir())

        assert sink.size - on_disk == 0


async def test_hundreds_of_small_pieces_are_all_written(tmp_path: Path, threads: Threads) -> None:
    pieces = [PIXEL, *(b"%d" % number for number in range(1000))]
    async with opened(tmp_path, threads) as sink:
        for piece in pieces:
            sink.write(piece)
        await sink.finish()

    assert (tmp_path / "fox.png").read_bytes() == b"".join(pieces)


async def test_no_file_is_created_before_the_first_piece_is_full(tmp_path: Path, threads: Threads) -> None:
    async with opened(tmp_path, threads) as sink:
        sink.write(PIXEL)
        await sink.drain()

        assert list(tmp_path.iterdir()) == []


async def test_an_unfinished_file_is_removed(tmp_path: Path, threads: Threads) -> None:
    with pytest.raises(KeyError):  # noqa: PT012 - the block is what is tested
        async with opened(tmp_path, threads, piece_bytes=1) as sink:
            await fill(sink)
            assert len(list(tmp_path.iterdir())) == 1
            raise KeyError

    assert list(tmp_path.iterdir()) == []
    await sink.discard()


async def test_a_discarded_image_cannot_be_finished(tmp_path: Path, threads: Threads) -> None:
    async with opened(tmp_path, threads, piece_bytes=1) as sink:
        await sink.discard()
        await fill(sink)
        with pytest.raises(OSError, match="the image was discarded"):
            await sink.finish()

    assert list(tmp_path.iterdir()) == []


async def test_an_existing_file_stays_and_the_image_is_not_lost(tmp_path: Path, threads: Threads) -> None:
    (tmp_path / "fox.png").write_text("precious")

    async with opened(tmp_path, threads, piece_bytes=1000) as sink:
        await fill(sink)
        with pytest.raises(FileExistsError):
            await sink.finish()
        rescued = await sink.rescue()

    assert rescued == WHOLE
    assert (tmp_path / "fox.png").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


async def test_a_missing_folder_loses_nothing(tmp_path: Path, threads: Threads) -> None:
    async with opened(tmp_path / "gone", threads, piece_bytes=1) as sink:
        await fill(sink)
        with pytest.raises(FileNotFoundError):
            await sink.finish()
        assert await sink.rescue() == WHOLE


@pytest.mark.parametrize("call", ["write", "fsync"])
async def test_a_full_disk_loses_nothing(
    tmp_path: Path, threads: Threads, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real, written = os.write, 0

    def limited(descriptor: int, data: bytes) -> int:
        nonlocal written
        if written >= 1000:
            raise OSError(errno.ENOSPC, "No space left on device")
        written += real(descriptor, data[:700])
        return min(len(data), 700)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, limited if call == "write" else full)

    async with opened(tmp_path, threads, piece_bytes=1) as sink:
        await fill(sink)
        with pytest.raises(OSError, match="No space left") as caught:
            await sink.finish()
        rescued = await sink.rescue()

    assert caught.value.errno == errno.ENOSPC
    assert rescued == WHOLE
    assert list(tmp_path.iterdir()) == []


async def test_bytes_that_are_not_an_image_matter_more_than_a_failing_disk(tmp_path: Path, threads: Threads) -> None:
    async with opened(tmp_path / "gone", threads) as sink:
        sink.write(b"<html>")
        with pytest.raises(ValueError, match="6 bytes that"):
            await sink.finish()


async def test_partial_writes_are_continued(tmp_path: Path, threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:7000]))

    async with opened(tmp_path, threads, piece_bytes=1) as sink:
        await fill(sink)
        await sink.finish()

    assert (tmp_path / "fox.png").read_bytes() == WHOLE


class Gate:
    """Holds a thread at a call of an `os` function until `opened` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        real = getattr(os, name)

        def held(*arguments: object) -> object:
            self.reached.set()
            assert self.opened.wait(30)
            return real(*arguments)

        monkeypatch.setattr(os, name, held)


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("times", [1, 3])
async def test_a_cancelled_attempt_leaves_no_file(
    tmp_path: Path, threads: Threads, monkeypatch: pytest.MonkeyPatch, call: str, times: int
) -> None:
    gate = Gate(monkeypatch, call)

    async def attempt() -> None:
        async with SinkSet(tmp_path / "fox", threads) as sinks:
            for sink in (sinks.open(), sinks.open()):
                sink.write(PIXEL + bytes(PIECE_BYTES))
                if call != "fsync":
                    await sinks.drain()
                await sink.finish()

    task = asyncio.create_task(attempt())
    await asyncio.to_thread(gate.reached.wait, 30)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(threads._pool.shutdown)  # a second cancellation leaves threads running

    assert list(tmp_path.iterdir()) == []


async def test_a_hanging_disk_does_not_block_the_event_loop(
    tmp_path: Path, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, "fsync")
    async with opened(tmp_path, threads) as sink:
        await fill(sink)
        finishing = asyncio.create_task(sink.finish())
        await asyncio.to_thread(gate.reached.wait, 30)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not finishing.done()
        gate.opened.set()
        await finishing

    assert (tmp_path / "fox.png").read_bytes() == WHOLE
