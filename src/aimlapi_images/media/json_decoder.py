"""Streaming decoder for JSON responses with base64 images.

An image of 1.5 MB is a JSON string of 2 MB. The decoder passes its text on piece by piece and never holds it. The
rest of the response, the skeleton, is small and parsed at the end. No I/O happens here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, Generic

from aimlapi_images.media.base64_decoder import Payload, SinkT

MAX_SKELETON_BYTES: Final = 4 * 2**20
MAX_PAYLOAD_BYTES: Final = 64 * 2**20
# For each image: 64 MiB as base64, plus the JSON around it.
MAX_BODY_BYTES: Final = 96 * 2**20

_QUOTE: Final = 0x22
_STRUCTURE: Final = re.compile(rb'[\[\]{},"]')
_IN_STRING: Final = re.compile(rb'(?:[^"\\]++|\\.)++', re.DOTALL)
_VALID_TEXT: Final = re.compile(rb'(?:[^"\\]++|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{4})++')
_INCOMPLETE_ESCAPE: Final = re.compile(rb"\\(?:u[0-9A-Fa-f]{0,3})?\Z")


class BodyTooLargeError(Exception):
    """A body exceeds its size limit."""


class NotJSONError(ValueError):
    """A body is not JSON, or is truncated. The decoder's `skeleton` has what arrived."""


class BodyDecoder(Generic[SinkT]):
    """Decodes a response body that arrives in chunks of any size.

    An image is a string at `data[*].b64_json`; the same key anywhere else is plain JSON. Problems of an image are
    recorded in its `Payload` and do not stop the decoder: the response may also have a URL, and a price.

    The result equals that of `json.loads` for the whole UTF-8 body, except that a `Payload` replaces each image's
    string, and that invalid escapes and control characters in such a string are a problem of that image only.

    Args:
        open_sink: Opens a sink for the next image. Called when its string begins, even if it is empty.
        max_skeleton: Limit in bytes for everything but images.
        max_payload: Limit in bytes for one decoded image. A larger one has a problem.
        max_body: Limit in bytes for the whole body.

    Attributes:
        payloads: All images so far in order of arrival, including those of duplicate keys.
        skeleton: The body so far without the images' text.
    """

    def __init__(
        self,
        open_sink: Callable[[], SinkT],
        *,
        max_skeleton: int = MAX_SKELETON_BYTES,
        max_payload: int = MAX_PAYLOAD_BYTES,
        max_body: int = MAX_BODY_BYTES,
    ) -> None:
        self.payloads: list[Payload[SinkT]] = []
        self.skeleton = bytearray()
        self._open_sink = open_sink
        self._max_skeleton = max_skeleton
        self._max_payload = max_payload
        self._max_body = max_body
        self._size = 0
        self._path = _Path()
        self._scanned = 0  # position in the skeleton
        self._string_start: int | None = None  # of the string that contains that position
        self._payload: Payload[SinkT] | None = None  # the image that is being read
        self._incomplete_escape = b""  # held back from that image

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            BodyTooLargeError: A limit is exceeded.
        """
        self._size += len(chunk)
        if self._size > self._max_body:
            raise BodyTooLargeError(f"more than {self._max_body:,} bytes")
        if self._incomplete_escape:
            chunk, self._incomplete_escape = self._incomplete_escape + chunk, b""
        position = 0
        while position < len(chunk):
            if self._payload is not None:
                position = self._read_payload(self._payload, chunk, position)
            else:
                position = self._read_skeleton(chunk, position)
        if len(self.skeleton) > self._max_skeleton:
            raise BodyTooLargeError(f"more than {self._max_skeleton:,} bytes beside images")

    def finish(self) -> Any:
        """Parse the skeleton after the last chunk.

        Returns:
            The JSON document, with a `Payload` in place of each image's string.

        Raises:
            NotJSONError: The body is not JSON, or is truncated. The images may be wrong, too.
        """
        if self._payload is not None:
            raise NotJSONError("the body ends within an image")
        try:
            document = json.loads(self.skeleton.decode("utf-8-sig", "surrogatepass"))
        except (ValueError, RecursionError) as error:
            raise NotJSONError(str(error)) from error
        entries = document.get("data") if isinstance(document, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            # Every string found here was replaced by the index of its payload.
            if isinstance(entry, dict) and isinstance(entry.get("b64_json"), str):
                entry["b64_json"] = self.payloads[int(entry["b64_json"])]
        return document

    def _read_skeleton(self, chunk: bytes, position: int) -> int:
        """Read up to the beginning of an image's text, or to the end of the chunk. Returns that position."""
        skeleton, path = self.skeleton, self._path
        chunk_offset = position - len(skeleton)  # from a position in the skeleton to the same in the chunk
        skeleton += memoryview(chunk)[position:]
        while self._string_start is None or self._end_string(self._string_start):
            found = _STRUCTURE.search(skeleton, self._scanned)
            if found is None:
                self._scanned = len(skeleton)
                break
            token, self._scanned = skeleton[found.start()], found.end()
            if token != _QUOTE:
                path.step(token)
            elif path.at_payload:
                return self._begin_payload() + chunk_offset
            else:
                self._string_start = self._scanned
        return len(chunk)

    def _end_string(self, start: int) -> bool:
        """Scan to the end of a plain string. Returns `False` if the end has not arrived yet."""
        skeleton = self.skeleton
        if inside := _IN_STRING.match(skeleton, self._scanned):
            self._scanned = inside.end()
        if skeleton[self._scanned : self._scanned + 1] != b'"':
            return False
        if self._path.expects_key:
            self._path.enter(skeleton[start : self._scanned])
        self._string_start = None
        self._scanned += 1
        return True

    def _begin_payload(self) -> int:
        """Cut the skeleton off where an image's text begins, and put its index there. Returns that position."""
        start = self._scanned
        del self.skeleton[start:]
        self.skeleton += b'%d"' % len(self.payloads)
        self._scanned = len(self.skeleton)
        self._path.leave()
        self._payload = Payload(self._open_sink(), max_bytes=self._max_payload)
        self.payloads.append(self._payload)
        return start

    def _read_payload(self, payload: Payload[SinkT], chunk: bytes, position: int) -> int:
        """Read an image's text up to its closing quote, a bad escape or the end. Returns the position after it."""
        end = chunk.find(b'"', position)
        if end < 0:
            end = len(chunk)
        if chunk.find(b"\\", position, end) < 0:
            payload.feed(memoryview(chunk)[position:end])
        elif text := _VALID_TEXT.match(chunk, position):
            end = text.end()
            # Latin-1 maps bytes to characters one to one, and `?` is as little base64 as any character it replaces.
            string = json.loads(f'"{text.group().decode("latin-1")}"', strict=False)
            payload.feed(string.encode("latin-1", "replace"))
        else:
            end = position
        if end == len(chunk):
            return end
        if chunk[end] == _QUOTE:
            payload.finish()
            self._payload = None
            return end + 1
        if _INCOMPLETE_ESCAPE.match(chunk, end):
            self._incomplete_escape = chunk[end:]
            return len(chunk)
        payload.fail("an invalid escape sequence")
        return end + 2


class _Path:
    """Tracks whether the scan position is at an image, which is a string at `data[*].b64_json`.

    Attributes:
        expects_key: The next string is a key that matters.
        at_payload: The next string is an image.
    """

    _CONTAINERS: Final = b"{[{"
    _KEYS: Final = ("data", None, "b64_json")

    def __init__(self) -> None:
        self.expects_key = False
        self._depth = 0  # number of open containers
        self._matched = 0  # how many of them, from the outermost, are on the way to an image
        self._on_path = True  # the next value is, too

    @property
    def at_payload(self) -> bool:
        return self._on_path and self._depth == len(self._KEYS)

    def enter(self, raw_key: bytes | bytearray) -> None:
        """Note a key, given without its quotes."""
        self.expects_key = False
        try:
            key = json.loads(f'"{raw_key.decode("utf-8", "surrogatepass")}"')
        except ValueError:
            return  # the whole document is not JSON
        self._on_path = key == self._KEYS[self._depth - 1]

    def leave(self) -> None:
        """Note that the value of the current key began."""
        self._on_path = False

    def step(self, token: int) -> None:
        """Note a bracket, brace or comma outside strings."""
        if token in b"[{":
            matches = self._on_path and self._depth < len(self._KEYS) and token == self._CONTAINERS[self._depth]
            self._depth += 1
            self._matched += matches
        elif token in b"]}":
            self._depth = max(0, self._depth - 1)
            self._matched = min(self._matched, self._depth)
            self._on_path = self.expects_key = False
            return
        # At the beginning of a container, or behind a comma in it.
        here = 0 < self._depth == self._matched
        is_list = here and self._KEYS[self._depth - 1] is None
        self._on_path = is_list
        self.expects_key = here and not is_list
