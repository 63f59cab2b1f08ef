"""Files to upload: what they hold, and how their bytes are read while they are sent."""

import io
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias, cast

import attrs
import httpx

from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.media.formats import ImageFormat
from aimlapi_images.threads import Threads

_PIECE_BYTES: Final = 256 * 1024


@attrs.define
class StoredFile:
    """A file on disk as it was when checked, with what httpx uses of a file object. Open during each read only."""

    path: Path  # absolute
    size: int  # in bytes
    modified: int  # in nanoseconds since the epoch
    _offset: int = attrs.field(default=0, init=False, eq=False)

    def __len__(self) -> int:
        return self.size

    def tell(self) -> int:
        return self._offset

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._offset = offset + (self.size if whence == os.SEEK_END else 0)
        return self._offset

    def read(self, length: int) -> bytes:
        """Read the next part of the file. Refuse a file that has changed."""
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(self._offset)
                data = file.read(length)
                now = os.fstat(file.fileno())
        except OSError as error:
            raise unreadable(self.path, error) from error
        if (now.st_size, now.st_mtime_ns) != (self.size, self.modified):
            raise InvalidRequestError(f"{self.path} has changed since it was checked, so it is not sent: pass it again")
        self._offset += len(data)
        return data


Content: TypeAlias = bytes | StoredFile


@attrs.frozen
class Upload:
    """One file of a form. Its format was read from the bytes, and its name has the extension of the format."""

    name: str
    format: ImageFormat
    content: Content = attrs.field(repr=lambda content: f"<{len(content):,} bytes>")

    def part(self) -> tuple[str, BinaryIO, str]:
        """The file as httpx takes it in `files`, at its beginning."""
        file = io.BytesIO(self.content) if isinstance(self.content, bytes) else attrs.evolve(self.content)
        return self.name, cast(BinaryIO, file), self.format.media_type


class UploadStream(httpx.AsyncByteStream):
    """A multipart body that is read in threads. Each iteration sends it from its beginning."""

    def __init__(self, stream: Iterable[bytes], threads: Threads) -> None:
        self.sent_whole: bool = False  # whether the transport took the last piece: until then, nothing can be billed
        self.error: InvalidRequestError | None = None  # of a file: some transports raise an error of their own then
        self._stream = stream
        self._threads = threads

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.sent_whole = False
        pieces = _pieces(self._stream)
        while not self.sent_whole:
            try:
                piece, self.sent_whole = await self._threads.run(pieces.__next__)
            except InvalidRequestError as error:
                self.error = error
                raise
            yield piece


def read_in_threads(request: httpx.Request, threads: Threads) -> None:
    """Replace the multipart body of a request by an `UploadStream`. A body that is in memory stays as it is."""
    if isinstance(request.stream, httpx.SyncByteStream) and not isinstance(request.stream, httpx.ByteStream):
        request.stream = UploadStream(request.stream, threads)


def _pieces(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Join small chunks. Tells of each piece whether it is the last one.

    A small upload is one piece: if the server refuses it before it was read, its answer still arrives.
    """
    joined: list[bytes] = []
    size = 0
    for chunk in chunks:
        if joined and size + len(chunk) > _PIECE_BYTES:
            yield b"".join(joined), False
            joined, size = [], 0
        joined.append(chunk)
        size += len(chunk)
    yield b"".join(joined), True


def open_content(content: Content) -> BinaryIO:
    """Open the content for reading from its beginning."""
    return io.BytesIO(content) if isinstance(content, bytes) else content.path.open("rb")


def unreadable(source: object, error: OSError) -> InvalidRequestError:
    """The error for a file that is missing or cannot be read."""
    shown = str(source)  # may be base64 that was passed as a path
    shown = shown if len(shown) <= 300 else f"{shown[:297]}..."
    return InvalidRequestError(f"{shown} cannot be read: {error.strerror or error}")
