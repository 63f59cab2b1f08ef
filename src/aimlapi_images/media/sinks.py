"""Where an image's bytes go that is to be written: a file that appears when it is whole."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from aimlapi_images.media.files import open_part, put_in_place

PIECE_BYTES: Final = 768 * 2**10
_PIECES_AT_ONCE: Final = 256
_HEAD_BYTES: Final = 4096

ResultT = TypeVar("ResultT")


class FileSink:
    """Takes an image's bytes into a temporary file beside its target. The event loop waits for no disk.

    What is not kept is to be discarded, or the temporary file stays. A disk that fails or is full loses nothing: the
    bytes stay in memory from there on, `keep` raises, and `rescue` gives them all.

    Args:
        folder: Where the file is to be. Nothing is made there before the first bytes.
        piece_bytes: How many bytes may wait in memory before `drain` writes them.

    Attributes:
        size: How many bytes it was given.
        head: The first 4 KiB of them.
        part: The temporary file, once there is one.
        error: Why the bytes are not in the file, if they are not.
        target: The file with its name, once it was kept.
    """

    def __init__(self, folder: Path, *, piece_bytes: int = PIECE_BYTES) -> None:
        self.size = 0
        self.head = b""
        self.part: Path | None = None
        self.error: OSError | None = None
        self._folder = folder
        self._piece_bytes = piece_bytes
        self._waiting: list[bytes] = []
        self._written = 0
        self._descriptor: int | None = None
        self.target: Path | None = None
        self._unwanted = False
        # A thread goes on when the task that waits for it is cancelled: what comes next has to wait for it.
        self._lock = threading.Lock()

    def write(self, data: bytes) -> None:
        """Take the next bytes. They are in memory until `drain` or `keep`."""
        self._waiting.append(data)
        self.size += len(data)
        if len(self.head) < _HEAD_BYTES:
            self.head += data[: _HEAD_BYTES - len(self.head)]

    async def drain(self) -> None:
        """Write what waits, if it is a piece worth a write. Raises nothing: see `error`."""
        if self.size - self._written >= self._piece_bytes and self.error is None:
            await self._in_thread(self._write_out)

    async def keep(self, name: Callable[[Path], Path]) -> Path:
        """Give the file its name: all bytes are written and synced to the disk, then it is renamed.

        When this is cancelled, the file is either there and whole, or not there.

        Args:
            name: Tells the target, in the same folder, from the whole temporary file. Called in a thread.

        Returns:
            The target.

        Raises:
            FileExistsError: A file is there already.
            OSError: It could not be written. `rescue` has the bytes.
        """
        return await self._in_thread(lambda: self._keep(name))

    async def rescue(self) -> bytes:
        """All bytes that it was given, from the disk and from memory."""
        return await self._in_thread(self._read_back)

    async def discard(self) -> None:
        """Remove the temporary file, if there is one. What was kept stays. May be called again."""
        self._unwanted = True
        # Shielded: a second cancellation must not leave the file.
        await asyncio.shield(self._in_thread(self._remove))

    def _in_thread(self, work: Callable[[], ResultT]) -> asyncio.Future[ResultT]:
        def locked() -> ResultT:
            with self._lock:
                return work()

        return asyncio.get_running_loop().run_in_executor(None, locked)

    def _write_out(self) -> None:
        if self._unwanted:
            return
        try:
            if self._descriptor is None:
                self.part, self._descriptor = open_part(self._folder)
            while self._waiting:
                self._written += self._write_some(self._descriptor)
        except OSError as error:
            self.error = error

    def _write_some(self, descriptor: int) -> int:
        # Many pieces in one call: between two of them, threads wait for each other.
        pieces = self._waiting[:_PIECES_AT_ONCE]
        write = getattr(os, "writev", None)  # not on Windows
        count = int(write(descriptor, pieces) if write else os.write(descriptor, b"".join(pieces)))
        if count == sum(map(len, pieces)):
            del self._waiting[: len(pieces)]
        else:
            self._waiting = [b"".join(self._waiting)[count:]]
        return count

    def _keep(self, name: Callable[[Path], Path]) -> Path:
        if self.error is None:
            self._write_out()
        if self.error is not None:
            raise self.error
        if self.part is None or self._descriptor is None:
            raise OSError(errno.ECANCELED, "it was discarded, or kept before", str(self._folder))
        os.fsync(self._descriptor)
        target = name(self.part)
        if self._unwanted:  # the task that waited for this was cancelled
            raise OSError(errno.ECANCELED, "it was discarded", str(target))
        self._close()
        put_in_place(self.part, target)
        self.target = target
        self.part.unlink(missing_ok=True)
        return target

    def _read_back(self) -> bytes:
        path = self.target or self.part
        written = path.read_bytes()[: self._written] if path is not None else b""
        return b"".join([written, *self._waiting])

    def _remove(self) -> None:
        self._close()
        if self.part is not None:
            self.part.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)
