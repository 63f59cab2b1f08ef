"""Sinks: where the bytes of incoming images go, to memory or to files."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import attrs

from aimlapi_images.media.files import free_number, open_part, put_in_place
from aimlapi_images.media.formats import ImageFormat, read_whole_image, with_extension
from aimlapi_images.threads import Threads

PIECE_BYTES: Final = 768 * 2**10

ResultT = TypeVar("ResultT")


@attrs.frozen
class ImageFile:
    """A finished image of `size` bytes, either in memory (`data`) or in a file (`path`)."""

    format: ImageFormat
    size: int
    data: bytes | None = attrs.field(default=None, repr=False)
    path: Path | None = None


class Sink:
    """Takes the bytes of one image: into memory, or into a temporary file beside its target.

    `write` never blocks, so that a parser can call it; `drain` lets a slow disk keep up. Every sink ends with
    `finish` or `discard`. If the disk fails or is full, the bytes that are not written yet stay in memory.

    Args:
        target: The path asked for, or `None` for memory. The format decides its extension.
        threads: Run the file operations.
        overwrite: Replace an existing file.
        piece_bytes: How many bytes `drain` lets accumulate in memory before it writes them.
    """

    def __init__(
        self, target: Path | None, threads: Threads, *, overwrite: bool = False, piece_bytes: int = PIECE_BYTES
    ) -> None:
        self.size: int = 0  # bytes taken so far
        self._target = target
        self._overwrite = overwrite
        self._threads = threads
        self._piece_bytes = piece_bytes
        self._buffer = io.BytesIO()  # not on disk yet
        self._on_disk = 0
        self._path: Path | None = None  # the temporary file, later the finished one
        self._file: io.FileIO | None = None
        self._error: OSError | None = None
        self._image: ImageFile | None = None
        self._discarded = False
        # A thread keeps running when the task that awaits it is cancelled: the next operation waits for it here.
        self._lock = threading.Lock()

    def write(self, data: bytes, /) -> None:
        """Take the next bytes."""
        self.size += self._buffer.write(data)

    async def drain(self) -> None:
        """Write the buffered bytes to disk once they fill a piece. Never raises `OSError`: `finish` does."""
        if self._target is not None and self._error is None and self._buffer.tell() >= self._piece_bytes:
            await self._run(self._write_out)

    async def check(self) -> ImageFormat:
        """Read the format of a complete image. Raises as `read_whole_image` does."""
        return await self._run(self._check) if self._on_disk else self._check()

    async def problem(self) -> ValueError | None:
        """Why the bytes are not a complete image, or `None`. What the disk says is left to `finish`."""
        with suppress(OSError):
            try:
                await self.check()
            except ValueError as error:
                return error
        return None

    async def finish(self, number: int = 1) -> ImageFile:
        """Check the image; with a target, write it, sync it and give it its name.

        If the task is cancelled meanwhile, the file either exists and is complete, or does not exist.

        Args:
            number: The image's position in the response, counted from 1. The second one becomes `fox-2.png`.

        Raises:
            ValueError: The bytes are not a complete image.
            OSError: The file could not be written, or exists. `rescue` still returns the bytes.
        """
        return await self._run(lambda: self._finish(number))

    async def rescue(self) -> bytes:
        """Return all bytes, wherever they are."""
        return await self._run(self._read_back)

    async def discard(self) -> None:
        """Drop an image that is not finished, including its temporary file. Safe to call more than once."""
        self._discarded = True
        if self._image is None:
            await asyncio.shield(self._run(self._remove))  # a second cancellation must not leave the file

    def _run(self, operation: Callable[[], ResultT]) -> Awaitable[ResultT]:
        def locked() -> ResultT:
            with self._lock:
                return operation()

        return _now(operation) if self._target is None else self._threads.run(locked)

    def _write_out(self) -> None:
        if self._discarded or self._error is not None or self._target is None or not self._buffer.tell():
            return
        data, self._buffer = memoryview(self._buffer.getvalue()), io.BytesIO()
        try:
            if self._file is None:
                self._path, self._file = open_part(self._target.parent)
            self._file.seek(self._on_disk)
            while data:
                count = os.write(self._file.fileno(), data)
                self._on_disk += count
                data = data[count:]
        except OSError as error:
            self._error = error
            self._buffer.write(data)

    def _check(self) -> ImageFormat:
        if self._on_disk:
            self._write_out()
        on_disk = self._file if self._on_disk == self.size else None
        return read_whole_image(on_disk or io.BytesIO(self._read_back()), self.size)

    def _finish(self, number: int) -> ImageFile:
        if self._image is not None:
            return self._image
        self._write_out()
        format_ = self._check()  # bytes that are not an image are a more important problem than the disk's
        if self._target is None:
            self._image = ImageFile(format_, self.size, data=self._read_back())
            return self._image
        if self._error is not None:
            raise self._error
        if self._file is not None:
            os.fsync(self._file.fileno())
        path = Path(with_extension(free_number(self._target, number), format_.name))
        if self._discarded or self._path is None:  # meanwhile, because the awaiting task was cancelled
            raise OSError(errno.ECANCELED, "the image was discarded", str(self._target))
        if os.name == "nt":  # pragma: no cover - where an open file cannot be renamed
            self._close()
        put_in_place(self._path, path, overwrite=self._overwrite)
        self._close()  # not earlier: if the temporary file is gone, the bytes are still there
        self._path = path
        self._image = ImageFile(format_, self.size, path=path)
        return self._image

    def _read_back(self) -> bytes:
        buffered = self._buffer.getvalue()
        if self._file is not None:  # even if its folder is gone
            self._file.seek(0)
            return self._file.read(self._on_disk) + buffered
        return buffered if self._path is None else self._path.read_bytes() + buffered

    def _remove(self) -> None:
        self._close()
        self._buffer, self.size, self._on_disk = io.BytesIO(), 0, 0
        if self._path is not None:
            with suppress(OSError):  # the error that made the image unwanted is the one to report
                self._path.unlink(missing_ok=True)
            self._path = None

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


async def _now(operation: Callable[[], ResultT]) -> ResultT:
    return operation()


class SinkSet:
    """The sinks of one order. Use it as `async with`: sinks that are not finished at the end are discarded.

    The arguments are those of `Sink`.
    """

    def __init__(self, target: Path | None, threads: Threads, overwrite: bool = False) -> None:
        self._target = target
        self._threads = threads
        self._overwrite = overwrite
        self._sinks: list[Sink] = []

    def open(self) -> Sink:
        """Open a sink for one more image."""
        sink = Sink(self._target, self._threads, overwrite=self._overwrite)
        self._sinks.append(sink)
        return sink

    async def drain(self) -> None:
        """Drain the sink opened last."""
        if self._sinks:
            await self._sinks[-1].drain()

    async def discard(self) -> None:
        """Discard all images that are not finished, because the attempt failed."""
        sinks, self._sinks = self._sinks, []  # shielded, so that a second cancellation leaves no file
        await asyncio.shield(asyncio.gather(*(sink.discard() for sink in sinks)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.discard()
