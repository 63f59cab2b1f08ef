"""Files to be sent: as they were when they were checked, and any number of times."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, Final

import attrs

from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.media.formats import ImageFormat, read_file_format
from aimlapi_images.orders.schema import FileRules

_CHUNK_BYTES: Final = 256 * 1024


@attrs.frozen
class StoredFile:
    """A file on the disk, as it was when it was checked.

    Attributes:
        path: Where it is.
        size: In bytes.
        changed: When it was last changed, in nanoseconds.
    """

    path: Path
    size: int
    changed: int

    def check_unchanged(self, now: os.stat_result) -> None:
        """Refuse to send what was not checked.

        Raises:
            InvalidRequestError: The file's size or time has changed.
        """
        if (now.st_size, now.st_mtime_ns) != (self.size, self.changed):
            raise InvalidRequestError(f"{self.path} has changed since it was checked, and is not sent: give it again")

    def read(self, offset: int, length: int) -> bytes:
        """Read a piece of it. It is open no longer than that: an upload that is broken off leaves nothing open."""
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(offset)
                data = file.read(length)
                self.check_unchanged(os.fstat(file.fileno()))
        except OSError as error:
            raise unreadable(self.path, error) from error
        return data


@attrs.frozen
class Upload:
    """One file to be sent.

    Attributes:
        name: Its file name; the extension follows the bytes.
        format: Its format, width and height, read from the bytes.
        content: Its bytes, or where they are on the disk.
    """

    name: str
    format: ImageFormat
    content: bytes | StoredFile = attrs.field(repr=lambda content: f"<{size_of(content):,} bytes>")

    @property
    def size(self) -> int:
        """In bytes."""
        return size_of(self.content)

    def check_unchanged(self) -> None:
        """Refuse a file that is not what it was when it was checked.

        Raises:
            InvalidRequestError: It has changed, or is gone.
        """
        if isinstance(self.content, StoredFile):
            try:
                self.content.check_unchanged(self.content.path.stat())
            except OSError as error:
                raise unreadable(self.content.path, error) from error

    def open(self) -> BinaryIO:
        """The file, to be read from its beginning."""
        return open_content(self.content)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Its bytes, piece by piece; those on the disk are read beside the event loop.

        Raises:
            InvalidRequestError: The file on the disk has changed since it was checked.
        """
        for offset in range(0, self.size, _CHUNK_BYTES):
            if isinstance(self.content, bytes):
                yield self.content[offset : offset + _CHUNK_BYTES]
            else:
                yield await asyncio.to_thread(self.content.read, offset, min(_CHUNK_BYTES, self.size - offset))


def check_file(file: BinaryIO, size: int, rules: FileRules) -> ImageFormat:
    """Check the size, in bytes, and the type of an open image file.

    Raises:
        ValueError: One of them is wrong; the message goes on after the file's name.
        OSError: It cannot be read.
    """
    if size == 0:
        raise ValueError("is empty")
    if size > rules.max_bytes:
        raise ValueError(f"has more than {rules.max_bytes:,} bytes, the most that is allowed")
    allowed = " or ".join(rules.formats)
    try:
        format_ = read_file_format(file, size)
    except ValueError as error:
        raise ValueError(f"has {error}; it has to be {allowed}") from error
    if format_.name not in rules.formats:
        raise ValueError(f"is {format_.name}, by its bytes, and has to be {allowed}")
    return format_


def unreadable(source: object, error: OSError) -> InvalidRequestError:
    """The error for a file that is not there, or cannot be read."""
    shown = str(source)  # base64 may be taken for a path
    shown = shown if len(shown) <= 300 else f"{shown[:297]}..."
    return InvalidRequestError(f"{shown} cannot be read: {error.strerror or error}")


def open_content(content: bytes | StoredFile) -> BinaryIO:
    """The content as a file, to be read from its beginning."""
    return io.BytesIO(content) if isinstance(content, bytes) else content.path.open("rb")


def size_of(content: bytes | StoredFile) -> int:
    """The content's size, in bytes."""
    return len(content) if isinstance(content, bytes) else content.size
