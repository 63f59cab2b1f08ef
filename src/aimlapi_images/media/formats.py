"""Image formats, read from the bytes and never from file names or HTTP headers, and their file extensions."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import BinaryIO, Final

import attrs

from aimlapi_images.media.image_end import has_end

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
        """The media type, such as `image/png`."""
        return f"image/{self.name}"


def signature(data: bytes | bytearray) -> str | None:
    """The format that the first 12 bytes of a file stand for, or `None`."""
    found = _SIGNATURES.match(data)
    return found and found.lastgroup


def read_file_format(file: BinaryIO, size: int) -> ImageFormat:
    """Read the format from an open file of `size` bytes.

    Raises:
        ValueError: The file does not begin like a PNG, JPEG, WebP or GIF, or has no width and height.
    """
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


def read_whole_image(file: BinaryIO, size: int) -> ImageFormat:
    """Like `read_file_format`, for an image that must be complete.

    Raises:
        IncompleteImageError: The end of the image is missing.
        ValueError: The bytes are not an image.
    """
    file.seek(0)
    head = file.read(_LONGEST_SIGNATURE)
    name = signature(head)
    if name is None:
        cut = size < _LONGEST_SIGNATURE and any(start.startswith(head[:4]) for start in _STARTS)
    else:
        cut = not has_end(file, size, name)
    if cut:
        raise IncompleteImageError(f"{size:,} bytes, cut off before the end of {f'the {name}' if name else 'an image'}")
    return read_file_format(file, size)


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
