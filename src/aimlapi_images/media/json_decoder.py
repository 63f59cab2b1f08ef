"""JSON with images in it, read as it comes: the images' bytes go to sinks, the rest is parsed in the end.

An image of 1.5 MB is 2 MB of base64 in a string. None of that text is kept: it is decoded piece by piece. What
remains, the skeleton, is small. No I/O here: bytes go in, and come out at sinks.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from typing import Any, Final, Generic

from aimlapi_images.media.base64_decoder import Payload, SinkT
from aimlapi_images.media.json_path import Tracker

MAX_SKELETON_BYTES: Final = 4 * 2**20
MAX_PAYLOAD_BYTES: Final = 64 * 2**20
# For each image: 64 MiB as base64, and room for the JSON around it.
MAX_BODY_BYTES: Final = 96 * 2**20

_STRUCTURE: Final = re.compile(rb'[\[\]{},"]')
_IN_STRING: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_UNICODE_CUT_OFF: Final = re.compile(rb"\\u[0-9A-Fa-f]{0,3}\Z")
_LEGAL: Final = re.compile(rb'(?:[^\\]++|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{4})*+')


class BodyTooLargeError(Exception):
    """A body, or what is around the images in it, went on beyond its limit."""


class NotJSONError(ValueError):
    """A body is not JSON, or not to its end. The decoder's `skeleton` has what came."""


class BodyDecoder(Generic[SinkT]):
    """Takes a response's body in pieces of any size; gives the JSON, and the bytes of the images in it.

    An image is a string at `data[*].b64_json`. The same key elsewhere, or within a prompt, is plain JSON. What is
    wrong with an image is noted in its `Payload`, and the rest is read on: there may be a URL, and a price.
    The document is what `json.loads` gives for the whole body, in whichever encoding that accepts, with a `Payload`
    in place of each of these strings. One exception: a raw control character in an image's string is that image's
    problem, where `json.loads` refuses the whole.

    Args:
        open_sink: Makes a place for the next image's bytes. Called when its string begins, be it empty or not.
        max_skeleton: How many bytes there may be beside images.
        max_payload: How many bytes an image may have. A larger one has a problem.
        max_body: How many bytes there may be in all.

    Attributes:
        payloads: All images so far, in the order in which they came, those of doubled keys included.
        skeleton: The body so far without the images' text. All of the body, if that is no JSON object.
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
        self._left = max_body
        self._max_body = max_body
        self._start: bytes | None = b""  # the first four bytes tell the encoding; `None` when that is settled
        self._recode: Callable[[bytes, bool], bytes] | None = None
        self._unreadable: UnicodeError | None = None
        self._path = Tracker()
        self._scanned = 0  # how far into the skeleton
        self._string: int | None = None  # where the string that we are in begins in the skeleton
        self._payload: Payload[SinkT] | None = None
        self._escape = b""  # a piece of an escape sequence in a payload

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            BodyTooLargeError: There are more than allowed.
        """
        self._left -= len(chunk)
        if self._left < 0:
            raise BodyTooLargeError(f"more than {self._max_body:,} bytes")
        if self._start is None:
            self._read(self._recoded(chunk))
            return
        start = self._start + chunk
        if len(start) < 4:
            self._start = start
        else:
            self._begin(start)

    def finish(self) -> Any:
        """The body is over: parse what was around the images.

        Returns:
            The document, with a `Payload` in place of each image's string.

        Raises:
            NotJSONError: It is none, or is cut off. Nothing that the sinks have is to be trusted.
        """
        try:
            if self._start is not None:
                self._begin(self._start)
            self._read(self._recoded(b"", final=True))
            if self._unreadable is not None:
                raise self._unreadable
            if self._payload is not None:
                raise ValueError("it ends within an image")
            # As text, for `loads` guesses the encoding of bytes, and here that is settled.
            document = json.loads(self.skeleton.decode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError) as error:
            raise NotJSONError(str(error)) from error
        entries = document.get("data") if isinstance(document, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            # Each string at this place is one that was taken out, and has its number there instead.
            if isinstance(entry, dict) and isinstance(entry.get("b64_json"), str):
                entry["b64_json"] = self.payloads[int(entry["b64_json"])]
        return document

    def _begin(self, start: bytes) -> None:
        """Find out the encoding, as `json.loads` does, and read the first bytes."""
        self._start = None
        encoding = json.detect_encoding(start)
        if encoding == "utf-8-sig":
            start = start.removeprefix(codecs.BOM_UTF8)
        elif encoding != "utf-8":
            decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
            self._recode = lambda data, final: decoder.decode(data, final).encode("utf-8", "surrogatepass")
        self._read(self._recoded(start))

    def _recoded(self, data: bytes, *, final: bool = False) -> bytes:
        """The next bytes as UTF-8. From where that fails, as they are: they may tell somebody what came instead."""
        if self._recode is None:
            return data
        try:
            return self._recode(data, final)
        except UnicodeError as error:
            self._unreadable = error
            self._recode = None
            return data

    def _read(self, chunk: bytes) -> None:
        position = 0
        while position < len(chunk):
            if self._payload is not None:
                position = self._read_payload(self._payload, chunk, position)
            else:
                position = self._read_skeleton(chunk, position)
        if len(self.skeleton) > self._max_skeleton:
            raise BodyTooLargeError(f"more than {self._max_skeleton:,} bytes beside images")

    def _read_skeleton(self, chunk: bytes, position: int) -> int:
        """Read up to where an image begins. Returns the position after its opening quote, or the chunk's end."""
        skeleton, path = self.skeleton, self._path
        offset = position - len(skeleton)  # from a place in the skeleton to one in the chunk
        skeleton += memoryview(chunk)[position:]
        while True:
            if self._string is not None and not self._skip_string(self._string):
                return len(chunk)
            found = _STRUCTURE.search(skeleton, self._scanned)
            if found is None:
                self._scanned = len(skeleton)
                return len(chunk)
            self._scanned = found.end()
            token = skeleton[found.start()]
            if token != 0x22:
                path.step(token)
            elif path.at_payload:
                end = self._scanned
                del found, skeleton[end:]
                skeleton += b'%d"' % len(self.payloads)
                self._scanned = len(skeleton)
                path.at_payload = False
                self._payload = Payload(self._open_sink(), max_bytes=self._max_payload)
                self.payloads.append(self._payload)
                return end + offset
            else:
                self._string = self._scanned

    def _skip_string(self, start: int) -> bool:
        """Go to the end of a plain string. Returns whether it is there yet."""
        skeleton = self.skeleton
        inside = _IN_STRING.match(skeleton, self._scanned)
        assert inside is not None  # noqa: S101 - it matches the empty string
        self._scanned = inside.end()
        if self._scanned == len(skeleton) or skeleton[self._scanned] == 0x5C:
            return False
        if self._path.wants_key:
            self._path.key(bytes(skeleton[start : self._scanned]))
        self._string = None
        self._scanned += 1
        return True

    def _read_payload(self, payload: Payload[SinkT], chunk: bytes, position: int) -> int:
        """Read up to the end of an image's string. Returns the position after its closing quote, or the chunk's end."""
        if self._escape:
            # What was held back is put in front, so that positions shift.
            shift = position - len(self._escape)
            chunk, self._escape = self._escape + chunk[position:], b""
            return shift + self._read_payload(payload, chunk, 0)
        end = chunk.find(b'"', position)
        if end < 0:
            end = len(chunk)
        if chunk.find(b"\\", position, end) < 0:
            payload.feed(memoryview(chunk)[position:end])
        else:
            end = self._read_escaped(payload, chunk, position, end)
        if end == len(chunk):
            return end
        payload.finish()
        self._payload = None
        return end + 1

    def _read_escaped(self, payload: Payload[SinkT], chunk: bytes, position: int, end: int) -> int:
        """The same where there are escapes. Returns the closing quote's position, or the chunk's end."""
        # PHP's encoder, for one, escapes each slash, and base64 is full of them.
        text = chunk[position:end].replace(b"\\/", b"/")
        if b"\\" not in text:
            payload.feed(text)
            return end
        # The quote that was found may be an escaped one.
        inside = _IN_STRING.match(chunk, position)
        assert inside is not None  # noqa: S101 - it matches the empty string
        end, raw = inside.end(), inside.group()
        if chunk[end : end + 1] != b'"':
            cut_off = _UNICODE_CUT_OFF.search(raw)
            keep = len(raw) if cut_off is None else cut_off.start()
            self._escape = raw[keep:] + chunk[end:]
            end, raw = len(chunk), raw[:keep]
        legal = _LEGAL.match(raw)
        assert legal is not None  # noqa: S101 - it matches the empty string
        string = '"' + legal.group().decode("utf-8", "replace") + '"'
        payload.feed(json.loads(string, strict=False).encode("utf-8", "surrogatepass"))
        if legal.end() < len(raw):
            payload.fail("an escape sequence that is not JSON's")
        return end
