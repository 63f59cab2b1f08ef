"""Image formats: name, width and height read from the bytes, and file extensions.

File names and HTTP headers are never trusted.
"""

from __future__ import annotations

import io
from pathlib import PurePath
from typing import BinaryIO, Final

import attrs

# The first extension is the one to add. The others are kept where a path has them.
EXTENSIONS: Final = {
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "webp": (".webp",),
    "gif": (".gif",),
}
_LONGEST_SIGNATURE: Final = 12


@attrs.frozen
class ImageFormat:
    """Format and size of an image.

    Attributes:
        name: `png`, `jpeg`, `webp` or `gif`.
        width: Width in pixels.
        height: Height in pixels.
    """

    name: str
    width: int
    height: int

    @property
    def media_type(self) -> str:
        """The media type, such as `image/png`."""
        return f"image/{self.name}"


def read_format(data: bytes) -> ImageFormat:
    """Read format, width and height from an image's bytes, or from the first of them.

    Raises:
        ValueError: The bytes do not start as a PNG, JPEG, WebP or GIF, or have no width and height.
    """
    return read_file_format(io.BytesIO(data), len(data))


def read_file_format(file: BinaryIO, size: int) -> ImageFormat:
    """Read format, width and height from an open file of `size` bytes.

    Raises:
        ValueError: See `read_format`.
    """
    import imagesize  # deferred: it loads the standard library's URL and XML modules

    file.seek(0)
    name = _name(file.read(_LONGEST_SIGNATURE))
    if name is None:
        raise ValueError(f"{size:,} bytes that are not a PNG, JPEG, WebP or GIF")
    # Returns -1 for a size that it cannot read, and raises nothing.
    file.seek(0)
    width, height = imagesize.get(file, exif_rotation=False)
    if width < 1 or height < 1:
        raise ValueError(f"{size:,} bytes that begin like a {name} but have no width and height")
    return ImageFormat(name=name, width=width, height=height)


def format_of(path: PurePath) -> str | None:
    """The image format that a path's extension stands for, or `None`."""
    suffix = path.suffix.lower()
    return next((name for name, extensions in EXTENSIONS.items() if suffix in extensions), None)


def with_extension(path: PurePath, format_name: str) -> PurePath:
    """Return the path with the extension of the format.

    `trex` becomes `trex.png` and `v1.2` becomes `v1.2.png`; `trex.png` becomes `trex.jpg` when the image is
    a JPEG, and `trex.jpeg` stays.
    """
    extensions = EXTENSIONS.get(format_name, (f".{format_name}",))
    suffix = path.suffix.lower()
    if suffix in extensions:
        return path
    if format_of(path) is not None:
        return path.with_suffix(extensions[0])
    return path.with_name(path.name + extensions[0])


def _name(data: bytes) -> str | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return None
