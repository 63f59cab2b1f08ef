"""Streaming decoder for answers with base64 images.

An image of 1.5 MB is a JSON string of 2 MB. The decoder passes its text on piece by piece and never holds it. The
rest of the body, the skeleton, is small and parsed at the end.

An image is recognized by the beginning of its base64, wherever it stands, so that neither another field nor a fault
in the JSON around it loses a paid image. In the documented field, any text counts as one.
"""

from __future__ import annotations

import re
from typing import Final

from aimlapi_images.media.base64_decoder import Payload
from aimlapi_images.media.formats import signature
from aimlapi_images.media.json_values import parsed

MAX_SKELETON_BYTES: Final = 8 * 2**20  # as large as a page of the log may be
MAX_PAYLOAD_BYTES: Final = 64 * 2**20
# For each image: 64 MiB as base64, plus the JSON around it.
MAX_BODY_BYTES: Final = 96 * 2**20

_MOST_PAYLOADS: Final = 100
_LONGEST_START: Final = 400  # bytes that `_START` may need to match
# Where an image's text begins. Slashes may be escaped.
_START: Final = re.compile(
    rb"""
    (?: "b64_json" \s{0,99} : \s{0,99} " (?!["h])            # any value but an empty one or a web address
      | (?: \A | ["'(>] ) (?= (?: \s | \\+[nrt] ){0,9} (?:  # anywhere: the beginning of
            (?i: data:image \\*/ )                          # a data URL
          | iVBORw0KGgo                                     # a PNG
          | \\*[/_] 9j \\*[/_] (?: \\*[\w+/-] ){8}           # a JPEG
          | UklGR (?: \\*[\w+/-] ){6} XRUJQ                 # a WebP
          | R0lGOD[dl]h                                     # a GIF
        )))
    (?=.)
    """,
    re.DOTALL | re.VERBOSE,
)
_CLOSING: Final = {b"'": b"'", b"(": b")", b">": b"<"}
# Escapes that matter to base64. A body that is JSON within JSON escapes them more than once.
_ESCAPED_SPACE: Final = re.compile(rb"\\\\{0,8}[bfnrt]")
_ESCAPED_SLASH: Final = re.compile(rb"\\\\{0,8}/")
_ESCAPED_CODE: Final = re.compile(rb"\\\\{0,8}u([0-9A-Fa-f]{4})")
_INCOMPLETE_ESCAPE: Final = re.compile(rb"\\{1,9}(?:u[0-9A-Fa-f]{0,3})?\Z")


class BodyTooLargeError(Exception):
    """A body exceeds a limit."""


class BodyDecoder:
    """Decodes a response body that arrives in chunks of any size.

    Args:
        max_images: Limits the size of the body.

    Attributes:
        payloads: All images in order of arrival, by the name that replaces their text in the skeleton.
        skeleton: The body so far without the images' text.
    """

    def __init__(self, max_images: int = 1) -> None:
        self.payloads: dict[str, Payload] = {}
        self.skeleton: bytearray = bytearray()
        self._max_body = max_images * MAX_BODY_BYTES
        self._size = 0
        self._scanned = 0  # position in the skeleton
        self._payload: Payload | None = None  # the image that is being read
        self._closing: bytes | None = None  # the character that ends its base64; `None` if it came as plain bytes
        self._incomplete_escape = b""  # held back from its base64

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            BodyTooLargeError: A limit is exceeded.
        """
        self._size += len(chunk)
        if self._size > self._max_body:
            raise BodyTooLargeError(f"more than {self._max_body:,} bytes")
        while chunk:
            chunk = self._read_skeleton(chunk) if self._payload is None else self._read_payload(self._payload, chunk)
        if len(self.skeleton) > MAX_SKELETON_BYTES:
            raise BodyTooLargeError(f"more than {MAX_SKELETON_BYTES:,} bytes beside images")

    def finish(self) -> object:
        """Parse the skeleton after the last chunk.

        Returns:
            The JSON document, with a name from `payloads` in place of each image's text; `None` if it is not JSON.
        """
        if self._payload is not None:
            self._payload.finish()
        return parsed(self.skeleton)

    def _read_skeleton(self, chunk: bytes) -> bytes:
        """Read up to the beginning of an image, or to the end of the chunk. Returns what is left to read."""
        self.skeleton += chunk
        if not self.payloads and signature(self.skeleton):
            return self._begin(0, None)
        start = _START.search(self.skeleton, self._scanned)
        if start is not None:
            return self._begin(start.end(), _CLOSING.get(start[0][-1:], b'"'))
        self._scanned = max(self._scanned, len(self.skeleton) - _LONGEST_START)
        return b""

    def _begin(self, start: int, closing: bytes | None) -> bytes:
        """Cut the skeleton off where an image begins, and put its name there. Returns the cut-off part."""
        if len(self.payloads) == _MOST_PAYLOADS:
            raise BodyTooLargeError(f"more than {_MOST_PAYLOADS} images")
        rest = bytes(self.skeleton[start:])
        name = f"<image {len(self.payloads) + 1}>"
        self.skeleton[start:] = name.encode()
        self._scanned = len(self.skeleton)
        self._payload = self.payloads[name] = Payload(max_bytes=MAX_PAYLOAD_BYTES)
        self._closing = closing
        return rest

    def _read_payload(self, payload: Payload, chunk: bytes) -> bytes:
        """Read an image's text up to the character that closes it. Returns what is left to read."""
        if self._closing is None:
            payload.write(chunk)
            return b""
        text, rest = self._incomplete_escape + chunk, b""
        self._incomplete_escape = b""
        end = text.find(self._closing)
        if end >= 0:
            text, rest = text[:end], text[end:]
        if b"\\" in text:
            if incomplete := _INCOMPLETE_ESCAPE.search(text, max(0, len(text) - 16)):
                text, tail = text[: incomplete.start()], incomplete[0]
                if end >= 0:
                    rest = tail + rest  # the closing quote itself is escaped
                else:
                    self._incomplete_escape = tail
            text = _ESCAPED_SLASH.sub(b"/", _ESCAPED_SPACE.sub(b"", text))
            text = _ESCAPED_CODE.sub(lambda code: bytes([min(int(code[1], 16), 0x7F)]), text)
        payload.feed(text)
        if end >= 0:
            payload.finish()
            self._payload = None
        return rest
