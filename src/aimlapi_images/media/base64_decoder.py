"""One image as base64, decoded as its text comes in pieces. No I/O here: the bytes go to a sink."""

from __future__ import annotations

import binascii
import re
from typing import Final, Generic, Protocol, TypeVar

import pybase64

# The longest `data:image/…;base64,` that is taken for one, in characters.
_LONGEST_PREFIX: Final = 256
_FOREIGN: Final = re.compile(rb"[^A-Za-z0-9+/]")


class Sink(Protocol):
    """Takes an image's bytes, piece by piece: into memory or into a file, that is all the same here."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes. Must not wait for anything."""


SinkT = TypeVar("SinkT", bound=Sink)


class Payload(Generic[SinkT]):
    """One image in a JSON answer: where its bytes went, and what was wrong with them.

    Strict: what `base64.b64decode(text, validate=True)` refuses is a problem, and so is padding in excess. A data
    URL's prefix is left out, and padding may be missing altogether.

    Args:
        sink: Takes the bytes.
        max_bytes: How many, at the most.

    Attributes:
        sink: What took the bytes. With a problem, what it has is a part of an image, or nothing.
        size: How many bytes it was given.
        characters: How many characters of base64 came.
        problem: Why the text is no image's, or `None`.
        position: Where the problem begins, in characters of base64.
    """

    def __init__(self, sink: SinkT, *, max_bytes: int) -> None:
        self.sink = sink
        self.size = 0
        self.characters = 0
        self.problem: str | None = None
        self.position: int | None = None
        self._max_bytes = max_bytes
        self._prefix: bytes | None = b""  # what may be the beginning of a data URL; `None` when that is settled
        self._rest = b""  # up to four characters: padding is right in the last ones alone

    def __repr__(self) -> str:
        return f"<{self.size:,} bytes{f', {self.problem} at {self.position:,}' if self.problem else ''}>"

    def feed(self, text: bytes | memoryview) -> None:
        """Take the next characters, free of JSON's escapes."""
        if self.problem is not None or not len(text):
            return
        if self._prefix is not None:
            text = self._without_prefix(self._prefix + bytes(text))
        rest = self._rest
        if len(rest) + len(text) <= 4:
            self._rest = rest + bytes(text)
            return
        text = memoryview(text)
        if rest:
            missing = 4 - len(rest)
            self._decode(memoryview(rest + bytes(text[:missing])))
            text = text[missing:]
        kept = (len(text) - 1) % 4 + 1
        self._decode(text[:-kept])
        self._rest = bytes(text[-kept:])

    def finish(self) -> None:
        """The text is over: decode what was held back."""
        if self._prefix is not None:
            text, self._prefix = self._prefix, None
            self.feed(text)
        if self.problem is not None or not self._rest:
            return
        tail = self._rest
        end = self.characters + len(tail)
        if b"=" not in tail:
            tail += b"=" * (-len(tail) % 4)
        try:
            data = binascii.a2b_base64(tail, strict_mode=True) if len(tail) == 4 else None
        except binascii.Error:
            data = None
        if data is not None:
            self.characters = end
            self._give(data)
            return
        foreign = re.search(rb"[^A-Za-z0-9+/=]", tail)
        if foreign:
            self.fail("a character that is not base64", self.characters + foreign.start())
        else:
            self.fail("base64 that is cut off, or wrongly padded", end)

    def fail(self, problem: str, position: int | None = None) -> None:
        """Note what is wrong, and take no more. The first problem is the one that counts.

        Args:
            problem: As "a character that is not base64".
            position: Where, in characters of base64; behind all that came if `None`.
        """
        if self.problem is None:
            self.problem = problem
            self.position = self.characters + len(self._rest) if position is None else position

    def _without_prefix(self, text: bytes) -> bytes:
        """What follows a data URL's prefix; nothing as long as that cannot be told."""
        scheme, comma = text[:5].lower(), text.find(b",", 0, _LONGEST_PREFIX)
        if scheme == b"data:" and comma >= 0:
            text = text[comma + 1 :]
        elif b"data:".startswith(scheme) and len(text) < _LONGEST_PREFIX:
            self._prefix = text
            return b""
        self._prefix = None
        return text

    def _decode(self, quads: memoryview) -> None:
        """Decode characters in the middle, a multiple of four."""
        if self.problem is not None or not len(quads):
            return
        try:
            # It takes padding at the end of what it is given, and here that is in the middle.
            data = None if quads[-1] == 0x3D else pybase64.b64decode(quads, validate=True)
        except (binascii.Error, ValueError):
            data = None
        if data is None:
            foreign = _FOREIGN.search(quads)
            self.fail("a character that is not base64", self.characters + (foreign.start() if foreign else 0))
            return
        self.characters += len(quads)
        self._give(data)

    def _give(self, data: bytes) -> None:
        if self.size + len(data) > self._max_bytes:
            self.fail(f"more than {self._max_bytes:,} bytes")
            return
        self.size += len(data)
        self.sink.write(data)
