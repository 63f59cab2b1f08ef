"""Streaming base64 decoder for one image. No I/O happens here: the bytes go to a sink."""

from __future__ import annotations

import binascii
import re
from typing import Final, Generic, Protocol, TypeVar

import pybase64

_MAX_PREFIX_LENGTH: Final = 256
_FOREIGN: Final = re.compile(rb"[^A-Za-z0-9+/]")
_FOREIGN_AT_END: Final = re.compile(rb"[^A-Za-z0-9+/=]")


class Writable(Protocol):
    """The part of a sink that the decoder needs."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes. Must not block."""


SinkT = TypeVar("SinkT", bound=Writable)


class Payload(Generic[SinkT]):
    """The base64 text of one image in a JSON response, decoded into a sink.

    Accepts what `base64.b64decode(text, validate=True)` accepts, and also text without padding. The prefix of a data
    URL is skipped. Anything else is recorded in `problem` and ends the decoding.

    Args:
        sink: Takes the bytes.
        max_bytes: Limit for the decoded image in bytes.

    Attributes:
        sink: The sink. If there is a problem, it has the part of the image before it.
        size: Number of bytes written to the sink.
        characters: Number of base64 characters decoded.
        problem: Why the text is not valid, such as `a character that is not base64`, or `None`.
        position: Where the problem is, in base64 characters from the beginning.
    """

    def __init__(self, sink: SinkT, *, max_bytes: int) -> None:
        self.sink = sink
        self.size = 0
        self.characters = 0
        self.problem: str | None = None
        self.position: int | None = None
        self._max_bytes = max_bytes
        self._prefix: bytes | None = b""  # a possible beginning of a data URL; `None` once that is decided
        self._held = b""  # up to four characters: only the last ones may have padding

    def __repr__(self) -> str:
        return f"<{self.size:,} bytes{f', {self.problem} at {self.position:,}' if self.problem else ''}>"

    def feed(self, text: bytes | memoryview) -> None:
        """Decode the next characters. JSON escapes are resolved already."""
        if self.problem is not None:
            return
        if self._prefix is not None:
            text = self._strip_prefix(self._prefix + bytes(text))
        held = self._held
        if len(held) + len(text) <= 4:
            self._held = held + bytes(text)
            return
        text = memoryview(text)
        fill = -len(held) % 4
        end = len(text) - ((len(text) - fill - 1) % 4 + 1)
        self._decode(memoryview(held + bytes(text[:fill])))
        self._decode(text[fill:end])
        self._held = bytes(text[end:])

    def finish(self) -> None:
        """Decode the last characters."""
        if self._prefix is not None:
            text, self._prefix = self._prefix, None
            self.feed(text)
        if self.problem is not None or not self._held:
            return
        held, end = self._held, self.characters + len(self._held)
        padded = held if b"=" in held else held.ljust(4, b"=")
        try:
            data = binascii.a2b_base64(padded, strict_mode=True) if len(padded) == 4 else None
        except binascii.Error:
            data = None
        if data is not None:
            self.characters = end
            self._write(data)
        elif foreign := _FOREIGN_AT_END.search(held):
            self.fail("a character that is not base64", self.characters + foreign.start())
        else:
            self.fail("base64 that is cut off, or wrongly padded", end)

    def fail(self, problem: str, position: int | None = None) -> None:
        """Record a problem and stop decoding. Only the first problem is recorded.

        Args:
            problem: Such as `a character that is not base64`.
            position: Where, in base64 characters; the end of the text so far if `None`.
        """
        if self.problem is None:
            self.problem = problem
            self.position = self.characters + len(self._held) if position is None else position

    def _strip_prefix(self, text: bytes) -> bytes:
        """The text behind a data URL's prefix, or nothing while that is undecided."""
        scheme, comma = text[:5].lower(), text.find(b",", 0, _MAX_PREFIX_LENGTH)
        if scheme == b"data:" and comma >= 0:
            text = text[comma + 1 :]
        elif b"data:".startswith(scheme) and len(text) < _MAX_PREFIX_LENGTH:
            self._prefix = text
            return b""
        self._prefix = None
        return text

    def _decode(self, text: memoryview) -> None:
        """Decode characters before the last ones, a multiple of four."""
        if self.problem is not None or not len(text):
            return
        try:
            # pybase64 would accept padding at the end of this part.
            data = None if text[-1] == 0x3D else pybase64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            data = None
        if data is None:
            foreign = _FOREIGN.search(text)
            self.fail("a character that is not base64", self.characters + (foreign.start() if foreign else 0))
            return
        self.characters += len(text)
        self._write(data)

    def _write(self, data: bytes) -> None:
        if self.size + len(data) > self._max_bytes:
            self.fail(f"more than {self._max_bytes:,} bytes")
            return
        self.size += len(data)
        self.sink.write(data)
