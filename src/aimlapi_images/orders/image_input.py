"""Images as callers give them, made into files that can be sent."""

from __future__ import annotations

import asyncio
import inspect
import io
import os
import stat
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias, Union

from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.media.formats import ImageFormat, read_file_format, with_extension
from aimlapi_images.models import GeneratedImage
from aimlapi_images.orders.schema import FileRules
from aimlapi_images.orders.uploads import Content, StoredFile, Upload, open_content, size_of, unreadable

if TYPE_CHECKING:
    from PIL.Image import Image

# A path, a file's bytes, a file opened to read bytes, a Pillow image, or one that was generated.
ImageInput: TypeAlias = Union[str, os.PathLike[str], bytes, bytearray, memoryview, IO[bytes], "Image", GeneratedImage]

_PIECE_BYTES: Final = 2**20
# What PNG cannot hold, and what it is made into.
_PNG_MODES: Final = {"RGBa": "RGBA", "La": "LA", "PA": "RGBA"} | dict.fromkeys(
    ("CMYK", "F", "HSV", "LAB", "RGBX", "YCbCr"), "RGB"
)
_TAKEN: Final = "a path, bytes, a file opened with 'rb', a Pillow image or a GeneratedImage"


async def read_upload(value: object, label: str, rules: FileRules) -> Upload:
    """Read an image that the caller gave, and check its size and its type. What is on the disk stays there.

    Args:
        value: The image; see `ImageInput`.
        label: What it is called in errors, as `image 2`, and its name where it has none.
        rules: How large it may be, and of which formats.

    Raises:
        InvalidRequestError: It cannot be read, is too large, or is no image of these formats.
    """
    name, content = await _read(value, label, rules.max_bytes)
    try:
        format_ = await asyncio.to_thread(_check, content, rules)
    except ValueError as error:
        shown = label if name is None else f"{label} ({name})"
        raise InvalidRequestError(f"{shown} {error}") from error
    except OSError as error:
        raise unreadable(value, error) from error
    # A file name may have bytes that its file system could not decode.
    name = (name or label.partition(" ")[0]).encode("utf-8", "replace").decode("utf-8")
    return Upload(str(with_extension(Path(name), format_.name)), format_, content)


async def _read(value: object, label: str, max_bytes: int) -> tuple[str | None, Content]:
    """The name, if there is one, and the bytes, or where they are. Of a file, not much more than may be sent."""
    match value:
        case str() | os.PathLike():
            path = _path(value, label)
            return path.name, await asyncio.to_thread(_find, path)
        case bytes() | bytearray() | memoryview():
            return None, bytes(value)
        case GeneratedImage(path=Path() as path):
            return path.name, await asyncio.to_thread(_find, path)
        case GeneratedImage():
            return None, value.data
    if pillow := as_pillow(value):
        return None, await asyncio.to_thread(encode_png, pillow, label)
    if not callable(getattr(value, "read", None)):
        raise InvalidRequestError(f"{label} is {_shorten(value)}, and has to be {_TAKEN}")
    name = getattr(value, "name", None)
    return Path(name).name if isinstance(name, str) else None, await _read_file(value, label, max_bytes)


def _path(value: str | os.PathLike[str], label: str) -> Path:
    text = os.fspath(value)
    if not isinstance(text, str):
        raise InvalidRequestError(f"{label} is the path {text!r}, and has to be one of text")
    if text.lower().startswith(("http:/", "https:/", "data:")):  # a Path has one slash of two
        raise InvalidRequestError(
            f"{label} is the URL {_shorten(text)}: this endpoint takes files alone, so fetch it first"
        )
    if not text or "\0" in text:
        raise InvalidRequestError(f"{label} is {text!r}, which names no file")
    return Path(text).absolute()


def _find(path: Path) -> StoredFile:
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a device or a pipe"
        raise InvalidRequestError(f"{path} is {kind}, and has to be a file")
    return StoredFile(path, found.st_size, found.st_mtime_ns)


async def _read_file(file: Any, label: str, max_bytes: int) -> bytes:
    """A file object from where it is to its end, or to the first bytes that are too many."""
    data = bytearray()
    while len(data) <= max_bytes:
        try:
            piece = await asyncio.to_thread(file.read, min(_PIECE_BYTES, max_bytes + 1 - len(data)))
            piece = await piece if inspect.isawaitable(piece) else piece
        except (OSError, ValueError) as error:  # closed, or text that is none
            raise InvalidRequestError(f"{label} cannot be read: {error}; open it with 'rb'") from error
        if not isinstance(piece, bytes | bytearray):
            raise InvalidRequestError(f"{label} gives {type(piece).__name__} when it is read: open it with 'rb'")
        if not piece:
            break
        data += piece
    return bytes(data)


def as_pillow(value: object) -> Image | None:
    """The value, if it is an image of Pillow's. Pillow is not loaded for it."""
    module = sys.modules.get("PIL.Image")
    return value if module is not None and isinstance(value, module.Image) else None


def encode_png(image: Image, label: str) -> bytes:
    """A Pillow image as a PNG.

    Raises:
        InvalidRequestError: It cannot be encoded, or its file cannot be read.
    """
    file = io.BytesIO()
    try:
        mode = _PNG_MODES.get(image.mode)
        (image.convert(mode) if mode else image).save(file, "PNG")
    except (OSError, ValueError, SystemError) as error:
        raise InvalidRequestError(f"{label} cannot be encoded as a PNG: {error}") from error
    return file.getvalue()


def check_file(file: BinaryIO, size: int, rules: FileRules) -> ImageFormat:
    """Check the size, in bytes, and the type of an open image file.

    Raises:
        ValueError: One of them is wrong; the message goes on after the file's name.
        OSError: It cannot be read.
    """
    if size == 0:
        raise ValueError("is empty")
    if size > rules.max_bytes:
        raise ValueError(f"has more than {rules.max_bytes:,} bytes, the most that is allowed")
    allowed = " or ".join(rules.formats)
    try:
        format_ = read_file_format(file, size)
    except ValueError as error:
        raise ValueError(f"has {error}; it has to be {allowed}") from error
    if format_.name not in rules.formats:
        raise ValueError(f"is {format_.name}, by its bytes, and has to be {allowed}")
    return format_


def _check(content: Content, rules: FileRules) -> ImageFormat:
    with open_content(content) as file:
        return check_file(file, size_of(content), rules)


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
