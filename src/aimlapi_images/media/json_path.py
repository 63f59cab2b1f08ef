"""Where in a JSON document a reader is, told by its brackets, commas and keys."""

from __future__ import annotations

import json


class Tracker:
    """Where in the document we are, as far as it matters: at `data[*].b64_json` or not.

    Attributes:
        wants_key: Whether a string that begins here is a key that matters.
        at_payload: Whether a string that begins here is an image.
    """

    def __init__(self) -> None:
        self.wants_key = False
        self.at_payload = False
        self._depth = 0
        self._data = False  # the value of a top-level `data` is next, or is where we are
        self._entries = False  # we are within the list that it is
        self._entry = False  # we are within an object of that list
        self._top = False  # the document is an object

    def key(self, raw: bytes) -> None:
        """A key that matters came, without its quotes."""
        self.wants_key = False
        if b"\\" in raw:  # `b64\u005fjson` is the same key
            try:
                raw = json.loads(b'"%b"' % raw, strict=False).encode("utf-8", "surrogatepass")
            except ValueError:
                return  # then the document is no JSON at all
        if self._depth == 1:
            self._data = raw == b"data"
        else:
            self.at_payload = raw == b"b64_json"

    def step(self, token: int) -> None:
        """A bracket, a brace or a comma came, outside of strings."""
        match token:
            case 0x5B | 0x7B:  # [ {
                self._open(is_object=token == 0x7B)
            case 0x5D | 0x7D:  # ] }
                self._close()
            case _ if self._depth == 1:
                self._data = False
                self.wants_key = self._top
            case _ if self._depth == 3:
                self.wants_key = self._entry
        self.at_payload = False

    def _open(self, *, is_object: bool) -> None:
        self._depth += 1
        self.wants_key = False
        if self._depth == 1:
            self._top = self.wants_key = is_object
        elif self._depth == 2:
            self._entries = self._data and not is_object
        elif self._depth == 3:
            self._entry = self.wants_key = self._entries and is_object

    def _close(self) -> None:
        self._depth -= 1
        self.wants_key = False
        if self._depth == 2:
            self._entry = False
        elif self._depth == 1:
            self._entries = False
