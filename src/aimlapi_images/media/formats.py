"""Image formats, read from the bytes and never from file names or HTTP headers, and their file extensions."""

import io
import re
from pathlib import PurePath
from typing import BinaryIO, Final, Self

import attrs

# The first extension is the one to add. The others are kept where a path has them.
EXTENSIONS: Final[dict[str, tuple[str, ...]]] = {
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "webp": (".webp",),
    "gif": (".gif",),
}
_SIGNATURES: Final = re.compile(
    rb"(?P<png>\x89PNG\r\n\x1a\n)|(?P<jpeg>\xff\xd8\xff)|(?P<webp>RIFF.{4}WEBP)|(?P<gif>GIF8[79]a)", re.DOTALL
)
_LONGEST_SIGNATURE: Final = 12  # bytes
_STARTS: Final = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8")
_MOST_PARTS: Final = 300_000  # that are looked at; a GIF of 64 MiB has 260,000


class IncompleteImageError(ValueError):
    """The bytes end before the image does."""


@attrs.frozen
class ImageFormat:
    """Format of an image, `png`, `jpeg`, `webp` or `gif`, with its width and height in pixels."""

    name: str
    width: int
    height: int

    @property
    def media_type(self) -> str:
        return f"image/{self.name}"


def signature(data: bytes | bytearray) -> str | None:
    """The format that the first 12 bytes of a file stand for, or `None`."""
    found = _SIGNATURES.match(data)
    return found and found.lastgroup


def read_file_format(file: BinaryIO, size: int) -> ImageFormat:
    """The format of an open file of `size` bytes; a `ValueError` if it does not begin like an image."""
    import imagesize  # deferred: it loads the standard library's URL and XML modules

    file.seek(0)
    name = signature(file.read(_LONGEST_SIGNATURE))
    if name is None:
        raise ValueError(f"{size:,} bytes that are not a PNG, JPEG, WebP or GIF")
    # Returns -1 for a size that it cannot read, and raises nothing.
    file.seek(0)
    width, height = imagesize.get(file, exif_rotation=False)
    if width < 1 or height < 1:
        raise ValueError(f"{size:,} bytes that begin like a {name} but have no width and height")
    return ImageFormat(name, width, height)


def read_whole_image(data: bytes) -> ImageFormat:
    """The format of a complete image; a `ValueError` if it is none, or an `IncompleteImageError` if it is half one."""
    name = signature(data)
    if name is None:
        cut = len(data) < _LONGEST_SIGNATURE and any(start.startswith(data[:4]) for start in _STARTS)
    else:
        cut = not _has_end(data, name)
    if cut:
        end = f"the {name}" if name else "an image"
        raise IncompleteImageError(f"{len(data):,} bytes, cut off before the end of {end}")
    return read_file_format(io.BytesIO(data), len(data))


@attrs.frozen
class Payload:
    """The bytes of one image as they came: with their format if they are complete, else with the reason why not."""

    data: bytes = attrs.field(repr=lambda data: f"<{len(data):,} bytes>")
    format: ImageFormat | None
    error: ValueError | None
    problem: str | None = None  # what kept more bytes from being decoded

    @classmethod
    def of(cls, data: bytes, problem: str | None = None) -> Self:
        try:
            return cls(data, read_whole_image(data), None, problem)
        except ValueError as error:
            return cls(data, None, error.with_traceback(None), problem)


def format_of(path: PurePath) -> str | None:
    """The image format that a path's extension stands for, or `None`."""
    suffix = path.suffix.lower()
    return next((name for name, extensions in EXTENSIONS.items() if suffix in extensions), None)


def with_extension(path: PurePath, format_name: str) -> PurePath:
    """The path with the extension of the format: for a JPEG, `trex` and `trex.png` become `trex.jpg`."""
    extensions = EXTENSIONS.get(format_name, (f".{format_name}",))
    suffix = path.suffix.lower()
    if suffix in extensions:
        return path
    return path.with_name((path.name if format_of(path) is None else path.stem) + extensions[0])


def _has_end(data: bytes, name: str) -> bool:
    """Whether a file, which begins as this format, is complete. What follows its end does not matter."""
    match name:
        case "png":
            return _png_has_end(data)
        case "jpeg":
            return _jpeg_has_end(data)
        case "gif":
            return _gif_has_end(data)
    return len(data) >= 8 + int.from_bytes(data[4:8], "little") > 12


def _png_has_end(data: bytes) -> bool:
    """Go from chunk to chunk: length, type, data, checksum."""
    start = 8
    for _ in range(_MOST_PARTS):
        kind, end = data[start + 4 : start + 8], start + 12 + int.from_bytes(data[start : start + 4], "big")
        if end > len(data) or kind == b"IEND":
            return end <= len(data)
        start = end
    return False


def _jpeg_has_end(data: bytes) -> bool:
    """Go from segment to segment, since one may hold a whole thumbnail. After the first scan, find the end marker."""
    start = 2
    for _ in range(_MOST_PARTS):
        marker = data[start : start + 2]
        if marker == b"\xff\xff":  # filler
            start += 1
            continue
        if len(marker) < 2 or marker[0] != 0xFF:
            return False
        start += 2 + max(2, int.from_bytes(data[start + 2 : start + 4], "big"))
        if marker[1] == 0xDA:
            return data.find(b"\xff\xd9", start) >= 0
    return False


def _gif_has_end(data: bytes) -> bool:
    """Go from block to block, and through the pieces of each."""
    start = 13 + _color_table_size(data[10:11])
    parts = iter(range(_MOST_PARTS))
    for _ in parts:
        kind = data[start : start + 1]
        if kind == b",":
            start += 11 + _color_table_size(data[start + 9 : start + 10])
        elif kind == b"!":
            start += 2
        else:
            return kind == b";"
        for _ in parts:
            length = data[start : start + 1]
            start += 1
            if length in (b"", b"\0"):
                break
            start += length[0]
    return False


def _color_table_size(flags: bytes) -> int:
    return 3 * 2 ** (flags[0] % 8 + 1) if flags and flags[0] & 0x80 else 0
