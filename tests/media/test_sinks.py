"""A file that takes an image as it comes: whole or not there, and nothing lost when the disk fails."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aimlapi_images.media.sinks import PIECE_BYTES, FileSink
from conftest import PIXEL

PIECES = [PIXEL, b"", b"x" * 1000, b"y" * 300_000, b"z"]
WHOLE = b"".join(PIECES)


@pytest.fixture(params=[True, False], ids=["writev", "write"])
def writev(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the system can write many pieces in one call, as all but Windows can."""
    if not request.param:
        monkeypatch.delattr(os, "writev", raising=False)
    elif not hasattr(os, "writev"):
        pytest.skip("this system cannot")
    return bool(request.param)


def as_png(folder: Path) -> Callable[[Path], Path]:
    return lambda part: folder / "fox.png"


@asynccontextmanager
async def opened(folder: Path, piece_bytes: int = PIECE_BYTES) -> AsyncIterator[FileSink]:
    """A sink that is discarded in the end, as those of an order are."""
    sink = FileSink(folder, piece_bytes=piece_bytes)
    try:
        yield sink
    finally:
        await sink.discard()


async def filled(sink: FileSink) -> None:
    for piece in PIECES:
        sink.write(piece)
        await sink.drain()


@pytest.mark.parametrize("piece_bytes", [1, 1000, 2**20])
async def test_what_is_kept_appears_whole_under_its_name(tmp_path: Path, piece_bytes: int, writev: bool) -> None:
    async with opened(tmp_path, piece_bytes=piece_bytes) as sink:
        await filled(sink)
        path = await sink.keep(as_png(tmp_path))

    assert path == tmp_path / "fox.png"
    assert path.read_bytes() == WHOLE
    assert sink.size == len(WHOLE)
    assert list(tmp_path.iterdir()) == [path]


async def test_the_name_is_told_from_the_whole_file(tmp_path: Path) -> None:
    seen = []

    def name(part: Path) -> Path:
        seen.append((part.parent, part.read_bytes()))
        return part.with_name("fox.png")

    async with opened(tmp_path) as sink:
        await filled(sink)
        await sink.keep(name)

    assert seen == [(tmp_path, WHOLE)]


async def test_memory_holds_less_than_a_piece_after_a_drain(tmp_path: Path) -> None:
    async with opened(tmp_path, piece_bytes=1000) as sink:
        for _ in range(10):
            sink.write(b"x" * 999)
            await sink.drain()
        on_disk = sum(path.stat().st_size for path in tmp_path.iterdir())

    assert sink.size - on_disk == 0


async def test_hundreds_of_small_pieces_are_all_written(tmp_path: Path, writev: bool) -> None:
    async with opened(tmp_path) as sink:
        for number in range(1000):
            sink.write(b"%d" % number)
        path = await sink.keep(as_png(tmp_path))

    assert path.read_bytes() == b"".join(b"%d" % number for number in range(1000))
    assert sink.head == path.read_bytes()[:4096]


async def test_nothing_is_made_before_the_first_piece_is_full(tmp_path: Path) -> None:
    async with opened(tmp_path) as sink:
        sink.write(PIXEL)
        await sink.drain()

        assert list(tmp_path.iterdir()) == []
        assert sink.part is None


async def test_what_is_not_kept_is_removed(tmp_path: Path) -> None:
    with pytest.raises(KeyError):  # noqa: PT012 - the block is what is tested
        async with opened(tmp_path, piece_bytes=1) as sink:
            await filled(sink)
            assert len(list(tmp_path.iterdir())) == 1
            raise KeyError

    assert list(tmp_path.iterdir()) == []
    await sink.discard()  # may be said again


async def test_what_was_discarded_cannot_be_kept(tmp_path: Path) -> None:
    async with opened(tmp_path, piece_bytes=1) as sink:
        await sink.discard()
        await filled(sink)
        with pytest.raises(OSError, match="discarded"):
            await sink.keep(as_png(tmp_path))

    assert list(tmp_path.iterdir()) == []


async def test_another_file_is_left_alone_and_the_image_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_text("precious")

    async with opened(tmp_path, piece_bytes=1000) as sink:
        await filled(sink)
        with pytest.raises(FileExistsError, match="a file is there already"):
            await sink.keep(as_png(tmp_path))
        rescued = await sink.rescue()

    assert rescued == WHOLE
    assert (tmp_path / "fox.png").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


async def test_a_folder_that_is_gone_loses_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path / "gone", piece_bytes=1) as sink:
        await filled(sink)

        assert isinstance(sink.error, FileNotFoundError)
        with pytest.raises(FileNotFoundError):
            await sink.keep(as_png(tmp_path))
        assert await sink.rescue() == WHOLE


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a disk that is always full")  # noqa: PTH110
async def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.open("/dev/full", os.O_RDWR)
    monkeypatch.setattr("aimlapi_images.media.sinks.open_part", lambda folder: (folder / "absent.part", full))
    (tmp_path / "absent.part").touch()

    async with opened(tmp_path, piece_bytes=1) as sink:
        await filled(sink)
        with pytest.raises(OSError, match="No space left") as caught:
            await sink.keep(as_png(tmp_path))
        rescued = await sink.rescue()

    assert caught.value.errno == errno.ENOSPC
    assert rescued == WHOLE
    assert list(tmp_path.iterdir()) == []


async def test_a_disk_that_takes_a_little_at_a_time_gets_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writev: bool
) -> None:
    whole_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole_write(descriptor, data[:7000]))
    if writev:
        monkeypatch.setattr(os, "writev", lambda descriptor, pieces: os.write(descriptor, b"".join(pieces)))

    async with opened(tmp_path, piece_bytes=1) as sink:
        await filled(sink)
        path = await sink.keep(as_png(tmp_path))

    assert path.read_bytes() == WHOLE


class Gate:
    """Holds a thread at a call of `os`, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        real = getattr(os, name)

        def held(*arguments: object) -> object:
            self.reached.set()
            assert self.opened.wait(30)
            return real(*arguments)

        monkeypatch.setattr(os, name, held)


@pytest.mark.parametrize("call", ["writev" if hasattr(os, "writev") else "write", "fsync"])
@pytest.mark.parametrize("times", [1, 3])
async def test_a_cancelled_attempt_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, times: int
) -> None:
    gate = Gate(monkeypatch, call)

    async def attempt() -> None:
        async with opened(tmp_path, piece_bytes=1) as sink:
            await filled(sink)
            await sink.keep(as_png(tmp_path))

    task = asyncio.create_task(attempt())
    await asyncio.to_thread(gate.reached.wait, 30)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    # Threads that a second cancellation left behind end before the loop does.
    await asyncio.get_running_loop().shutdown_default_executor()

    assert list(tmp_path.iterdir()) == []


async def test_the_loop_goes_on_while_the_disk_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, "fsync")
    async with opened(tmp_path) as sink:
        await filled(sink)
        keeping = asyncio.create_task(sink.keep(as_png(tmp_path)))
        await asyncio.to_thread(gate.reached.wait, 30)
        for _ in range(100):
            await asyncio.sleep(0)  # the loop turns, though the disk does not answer
        assert not keeping.done()
        gate.opened.set()
        path = await keeping

    assert path.read_bytes() == WHOLE
