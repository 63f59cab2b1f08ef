"""Where the images of an order go as they come: into memory, or into files beside their target."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aimlapi_images.errors import DecodeError
from aimlapi_images.media.base64_decoder import Payload
from aimlapi_images.media.sinks import FileSink

_MOST_RESERVED: Final = 16 * 2**20


class MemorySink(io.BytesIO):
    """An image that stays in memory, in one buffer that is handed over without a copy."""

    def reserve(self, size: int) -> None:
        """Make room for so many bytes, before the first of them. A buffer that grows is moved, and leaves holes.

        Args:
            size: As a server announces it, who may be wrong or lie. Memory is not used before it is written to.
        """
        super().__init__(bytes(max(0, min(size, _MOST_RESERVED))))

    @property
    def size(self) -> int:
        """How many bytes it was given."""
        return self.tell()

    async def rescue(self) -> bytes:
        """All bytes that it was given."""
        self.truncate()
        return self.getvalue()

    async def discard(self) -> None:
        """Forget them."""
        self.close()


ImageSink = MemorySink | FileSink


class Sinks:
    """The places of one order's images. Use it as `async with`: what is not kept by the end is removed.

    Args:
        folder: Where the images are to be written, or `None` to keep them in memory.

    Attributes:
        expected: How many bytes the images of the answer that is being read will have together, if that is known.
    """

    def __init__(self, folder: Path | None) -> None:
        self._open: Callable[[], ImageSink] = MemorySink if folder is None else lambda: FileSink(folder)
        self._sinks: list[ImageSink] = []
        self.expected = 0

    def open(self) -> ImageSink:
        """A place for one more image."""
        sink = self._open()
        if isinstance(sink, MemorySink) and self.expected:
            sink.reserve(self.expected - sum(other.size for other in self._sinks))
        self._sinks.append(sink)
        return sink

    async def drain(self) -> None:
        """Write what has come to the disk, if that is where it goes and it is worth it."""
        if self._sinks and isinstance(self._sinks[-1], FileSink):
            await self._sinks[-1].drain()

    async def discard(self) -> None:
        """Remove all that was not kept: the attempt that brought it has failed."""
        sinks, self._sinks = self._sinks, []
        unkept = [sink for sink in sinks if isinstance(sink, MemorySink) or sink.target is None]
        # Shielded: a second cancellation must not leave files.
        await asyncio.shield(asyncio.gather(*(sink.discard() for sink in unkept)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.discard()


async def broken_image(payload: Payload[ImageSink], *, inference_id: str | None, order: str) -> DecodeError:
    """The error that a payload with a problem means."""
    where = "" if payload.position is None else f" at character {payload.position:,}"
    return DecodeError(
        f"the image's base64 is invalid: {payload.problem}{where}",
        data=await payload.sink.rescue(),
        inference_id=inference_id,
        order=order,
    )
