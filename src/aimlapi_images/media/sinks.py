"""Sinks: where the bytes of incoming images go, to memory or to files."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

import attrs

from aimlapi_images.media.files import free_number, open_part, put_in_place
from aimlapi_images.media.formats import ImageFormat, read_file_format, read_format, with_extension
from aimlapi_images.threads import Threads

PIECE_BYTES: Final = 768 * 2**10

ResultT = TypeVar("ResultT")


@attrs.frozen
class ImageFile:
    """A finished image, either in memory or in a file.

    Attributes:
        format: Format, width and height, read from the bytes.
        size: Size in bytes.
        data: The bytes, if they are in memory.
        path: The file, if they are not.
    """

    format: ImageFormat
    size: int
    data: bytes | None = attrs.field(default=None, repr=False)
    path: Path | None = None


class Sink(Protocol):
    """Takes the bytes of one image.

    `write` never blocks, so that a parser can call it; `drain` lets a slow disk keep up. Every sink ends with
    `finish` or `discard`.
    """

    @property
    def size(self) -> int:
        """Number of bytes written so far."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes. Never blocks."""

    async def drain(self) -> None:
        """Write buffered bytes to disk once there are enough of them. A disk error is raised by `finish` instead."""

    async def finish(self, number: int = 1) -> ImageFile:
        """Check the image, and give its file a name.

        If the task is cancelled meanwhile, the file either exists and is complete, or does not exist.

        Args:
            number: The image's position in the response, counted from 1. The second one becomes `fox-2.png`.

        Raises:
            ValueError: The bytes are not an image.
            FileExistsError: The target exists.
            OSError: The file could not be written. `rescue` still returns the bytes.
        """

    async def rescue(self) -> bytes:
        """Return all bytes, wherever they are."""

    async def discard(self) -> None:
        """Drop an image that is not finished, including its temporary file. Safe to call more than once."""


class MemorySink(io.BytesIO):
    """A sink that keeps the image in memory, in one buffer that is returned without a copy."""

    @property
    def size(self) -> int:
        """Number of bytes written so far."""
        return self.tell()

    async def drain(self) -> None:
        """Do nothing."""

    async def finish(self, number: int = 1) -> ImageFile:
        """Check the image. See `Sink.finish`."""
        data = await self.rescue()
        return ImageFile(read_format(data), len(data), data=data)

    async def rescue(self) -> bytes:
        """Return all bytes."""
        return self.getvalue()

    async def discard(self) -> None:
        """Free the buffer."""
        super().__init__()


class FileSink:
    """A sink that writes to a temporary file beside its target, in the client's threads.

    The temporary file is created with the first full piece. If the disk fails or is full, the bytes that are not
    written yet stay in memory.

    Args:
        target: The path asked for. The format decides its extension. `overwrite` replaces an existing file.
        threads: Run the file operations.
        piece_bytes: How many bytes `drain` lets accumulate in memory before it writes them.
    """

    def __init__(
        self, target: Path, threads: Threads, *, overwrite: bool = False, piece_bytes: int = PIECE_BYTES
    ) -> None:
        self.size = 0  # bytes taken so far, to memory or disk
        self._target = target
        self._overwrite = overwrite
        self._threads = threads
        self._piece_bytes = piece_bytes
        self._buffers: list[bytes] = []  # not on disk yet
        self._on_disk = 0
        self._path: Path | None = None  # the temporary file, later the finished one
        self._file: io.FileIO | None = None
        self._error: OSError | None = None
        self._image: ImageFile | None = None
        self._discarded = False
        # A thread keeps running when the task that awaits it is cancelled: the next operation waits for it here.
        self._lock = threading.Lock()

    def write(self, data: bytes, /) -> None:
        """Buffer the next bytes for `drain` or `finish`."""
        self._buffers.append(data)
        self.size += len(data)

    async def drain(self) -> None:
        """Write the buffered bytes to disk once they fill a piece. Never raises `OSError`: `finish` does."""
        if self.size - self._on_disk >= self._piece_bytes and self._error is None:
            await self._run(self._write_out)

    async def finish(self, number: int = 1) -> ImageFile:
        """Write, check, sync and rename the file. See `Sink.finish`."""
        return await self._run(lambda: self._finish(number))

    async def rescue(self) -> bytes:
        """Return all bytes, from disk and memory."""
        return await self._run(self._read_back)

    async def discard(self) -> None:
        """Remove the temporary file. A finished file stays."""
        self._discarded = True
        if self._image is None:
            await asyncio.shield(self._run(self._remove))  # a second cancellation must not leave the file

    def _run(self, operation: Callable[[], ResultT]) -> asyncio.Future[ResultT]:
        def locked() -> ResultT:
            with self._lock:
                return operation()

        return self._threads.run(locked)

    def _write_out(self) -> None:
        if self._discarded or self._error is not None:
            return
        try:
            if self._file is None:
                self._path, self._file = open_part(self._target.parent)
            while self._buffers:
                first = self._buffers[0]
                count = os.write(self._file.fileno(), first)
                self._on_disk += count
                self._buffers[:1] = [first[count:]] if count < len(first) else []
        except OSError as error:
            self._error = error

    def _finish(self, number: int) -> ImageFile:
        if self._image is not None:
            return self._image
        self._write_out()
        if self._error is not None:
            read_format(self._read_back())  # bytes that are not an image are the more important problem
            raise self._error
        if self._file is None or self._path is None:
            raise self._cancelled()
        format_ = read_file_format(self._file, self.size)
        os.fsync(self._file.fileno())
        path = Path(with_extension(free_number(self._target, number), format_.name))
        if self._discarded:  # meanwhile, because the awaiting task was cancelled
            raise self._cancelled()
        self._close()
        put_in_place(self._path, path, overwrite=self._overwrite)
        self._path = path
        self._image = ImageFile(format_, self.size, path=path)
        return self._image

    def _cancelled(self) -> OSError:
        return OSError(errno.ECANCELED, "the image was discarded", str(self._target))

    def _read_back(self) -> bytes:
        written = b"" if self._path is None else self._path.read_bytes()[: self._on_disk]
        return b"".join([written, *self._buffers])

    def _remove(self) -> None:
        self._close()
        if self._path is not None and self._image is None:
            with suppress(OSError):  # the error that made the image unwanted is the one to report
                self._path.unlink(missing_ok=True)
            self._path, self._on_disk = None, 0

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class SinkSet:
    """The sinks of one order. Use it as `async with`: sinks that are not finished at the end are discarded.

    Args:
        target: The path asked for, or `None` to keep images in memory. `overwrite` replaces an existing file.
        threads: Run the file operations.
    """

    def __init__(self, target: Path | None, threads: Threads, overwrite: bool = False) -> None:
        self._target = target
        self._overwrite = overwrite
        self._threads = threads
        self._sinks: list[Sink] = []

    def open(self) -> Sink:
        """Open a sink for one more image."""
        sink: Sink = MemorySink()
        if self._target is not None:
            sink = FileSink(self._target, self._threads, overwrite=self._overwrite)
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
