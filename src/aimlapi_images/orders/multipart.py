"""A form with files as an HTTP body of known length, which can be sent piece by piece."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence

import attrs

from aimlapi_images.orders.uploads import Upload

# As browsers and HTTP clients write them: https://html.spec.whatwg.org/#multipart-form-data
_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


@attrs.define
class Form:
    """A `multipart/form-data` body. Each iteration gives the whole of it anew.

    Attributes:
        texts: Names and values of the text fields, in the order in which they are sent.
        files: Names and contents of the file fields, which come after them.
        boundary: What stands between the parts, and in none of them.
        handed_over: Whether it was given to the network to its end. Before, no server can have had all of it.
    """

    texts: Sequence[tuple[str, str]]
    files: Sequence[tuple[str, Upload]]
    boundary: str = attrs.field(factory=lambda: secrets.token_hex(16))
    handed_over: bool = attrs.field(default=False, init=False)

    @property
    def content_type(self) -> str:
        """The header `Content-Type` of the body."""
        return f"multipart/form-data; boundary={self.boundary}"

    @property
    def length(self) -> int:
        """How many bytes the body has."""
        texts = sum(len(self._text_part(*each)) for each in self.texts)
        files = sum(len(self._file_head(*each)) + each[1].size + len(b"\r\n") for each in self.files)
        return texts + files + len(self._end)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.handed_over = False
        yield b"".join(self._text_part(*each) for each in self.texts)
        for name, upload in self.files:
            yield self._file_head(name, upload)
            async for chunk in upload.chunks():
                yield chunk
            yield b"\r\n"
        self.handed_over = True
        yield self._end

    def _text_part(self, name: str, value: str) -> bytes:
        return self._head(f'name="{_escape(name)}"') + value.encode("utf-8") + b"\r\n"

    def _file_head(self, name: str, upload: Upload) -> bytes:
        names = f'name="{_escape(name)}"; filename="{_escape(upload.name)}"'
        return self._head(f"{names}\r\nContent-Type: {upload.format.media_type}")

    def _head(self, description: str) -> bytes:
        # A file name may have letters that its file system could not decode; a text field is checked before.
        text = f"--{self.boundary}\r\nContent-Disposition: form-data; {description}\r\n\r\n"
        return text.encode("utf-8", "replace")

    @property
    def _end(self) -> bytes:
        return f"--{self.boundary}--\r\n".encode("ascii")


def _escape(name: str) -> str:
    return name.translate(_ESCAPES)
