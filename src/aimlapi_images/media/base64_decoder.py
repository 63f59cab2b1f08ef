"""Streaming base64 decoder for one image."""

from __future__ import annotations

import binascii
import io
import re
from typing import Final

import pybase64

_MAX_PREFIX_LENGTH: Final = 256
_WHITE_SPACE: Final = b" \t\r\n\v\f"
_STANDARD_ALPHABET: Final = bytes.maketrans(b"-_", b"+/")
_FOREIGN: Final = re.compile(rb"[^A-Za-z0-9+/]")


class Payload:
    """The bytes of one image, decoded from its base64 text while that arrives.

    Reads whatever can be understood: white space and line breaks, the URL alphabet, missing padding, and the prefix
    of a data URL. Whether the bytes are a complete image is not judged here: see `read_whole_image`.

    Attributes:
        size: Number of bytes so far.
        problem: Why the decoding stopped early, or `None`.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self.size: int = 0
        self.problem: str | None = None
        self._buffer = io.BytesIO()
        self._max_bytes = max_bytes
        self._prefix_possible = True
        self._held = b""  # a possible prefix, later up to four characters: only the last ones may have padding

    def __repr__(self) -> str:
        return f"<{self.size:,} bytes{f', {self.problem}' if self.problem else ''}>"

    @property
    def data(self) -> bytes:
        """The bytes so far."""
        return self._buffer.getvalue()

    def feed(self, text: bytes) -> None:
        """Decode the next characters. JSON escapes are resolved already."""
        if self.problem is not None:
            return
        text = self._held + text
        if self._prefix_possible:
            text = text.lstrip(_WHITE_SPACE)
            scheme, comma = text[:5].lower(), text.find(b",", 0, _MAX_PREFIX_LENGTH)
            self._prefix_possible = b"data:".startswith(scheme) and comma < 0 and len(text) < _MAX_PREFIX_LENGTH
            if self._prefix_possible:
                self._held = text
                return
            if scheme == b"data:":
                text = text[comma + 1 :]
        data = self._decode(text)
        if data is None:
            text = text.translate(_STANDARD_ALPHABET, _WHITE_SPACE)
            data = self._decode(text)
        if data is None:
            self._held = text
            self.finish()
        else:
            self.write(data)

    def finish(self) -> None:
        """Decode the last characters, as far as possible."""
        if self._prefix_possible:
            self._prefix_possible = False
            self.feed(b"")
        text, self._held = self._held.translate(_STANDARD_ALPHABET, _WHITE_SPACE), b""
        digits = _FOREIGN.split(text, 1)[0]
        usable = digits[: len(digits) - (len(digits) % 4 == 1)]
        self.write(binascii.a2b_base64(usable + b"=="))
        if text[len(digits) :].rstrip(b"="):
            self.problem = self.problem or f"a character that is not base64 after {self.size:,} bytes"

    def write(self, data: bytes) -> None:
        """Take bytes that are decoded already."""
        if self.problem is not None:
            return
        if self.size + len(data) > self._max_bytes:
            self.problem = f"more than {self._max_bytes:,} bytes"
            return
        self.size += self._buffer.write(data)

    def _decode(self, text: bytes) -> bytes | None:
        """Decode all but the last characters, and hold those. `None` if a character does not fit there."""
        end = max(len(text.rstrip(b"=")) - 1, 0) // 4 * 4
        if text.endswith(b"=", 0, end):  # which pybase64 would accept as the end
            return None
        try:
            data = pybase64.b64decode(memoryview(text)[:end], validate=True)
        except ValueError:
            return None
        self._held = text[end : end + 8]  # more can only be padding
        return data
