"""`ImageInput`: the forms in which callers pass images, and their conversion to uploads."""

from __future__ import annotations

import inspect
import io
import os
import stat
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, Protocol, TypeAlias

from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.media.formats import ImageFormat, read_file_format, with_extension
from aimlapi_images.media.json_values import shown
from aimlapi_images.models import GeneratedImage
from aimlapi_images.orders.order import absolute, as_path
from aimlapi_images.orders.schema import FileRules
from aimlapi_images.orders.uploads import Content, StoredFile, Upload, open_content, unreadable
from aimlapi_images.threads import Threads

if TYPE_CHECKING:
    from PIL.Image import Image


class PillowImage(Protocol):
    """What type checkers require of a Pillow image. Without Pillow, its own class would accept anything."""

    def getexif(self) -> Any:
        """Its EXIF data, with its orientation."""


# A path, a file's bytes, a file opened with 'rb', a Pillow image, or a generated image.
ImageInput: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | PillowImage | GeneratedImage
)

# What Pillow's modes become in a PNG; the others become RGB.
_PNG_MODES: Final = {"RGBa": "RGBA", "La": "LA", "PA": "RGBA", "I": "I;16"} | {
    mode: mode for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
}


async def read_upload(value: object, label: str, rules: FileRules, threads: Threads) -> Upload:
    """Read and check one image, labelled such as `image 2` in errors. A file on disk stays there."""
    name, content = await _read(value, label, rules.max_bytes, threads)
    try:
        format_ = await threads.run(_check, content, rules)
    except ValueError as error:
        raise InvalidRequestError(f"{f'{label} ({name})' if name else label} {error}") from error
    except OSError as error:
        raise unreadable(value, error) from error
    return Upload(str(with_extension(Path(name or label.partition(" ")[0]), format_.name)), format_, content)


async def _read(value: object, label: str, max_bytes: int, threads: Threads) -> tuple[str | None, Content]:
    """An image's file name, if it has one, and its content."""
    if pillow := as_pillow(value):
        return None, await threads.run(_encode_png, pillow, label)
    source = source_of(value, label)
    if isinstance(source, Path):
        return await threads.run(_find, source)
    if isinstance(source, bytes):
        return None, source
    name = getattr(source, "name", None)
    return _file_name(name) if isinstance(name, str) else None, await _read_file(source, label, max_bytes, threads)


def source_of(value: object, label: str) -> Any:
    """A `Path`, bytes or a file object for an image in any form but that of Pillow. Nothing is read."""
    match value:
        case str() | os.PathLike():
            return _local_path(value, label)
        case bytes() | bytearray() | memoryview():
            return bytes(value)
        case GeneratedImage():
            return value.path or value.data
    if not callable(getattr(value, "read", None)):
        forms = "a path, bytes, a file opened with 'rb', a Pillow image or a GeneratedImage"
        raise InvalidRequestError(f"{label} must be {forms}, got {shown(value)}")
    return value


def _local_path(value: str | os.PathLike[str], label: str) -> Path:
    path = as_path(value, label)
    text = os.fspath(value)
    if text.lower().startswith(("http:/", "https:/", "data:")):  # `Path` keeps one of two slashes
        raise InvalidRequestError(f"{label} must be a file, got the URL {shown(text)}: download it first")
    if not text:
        raise InvalidRequestError(f"{label} is not a valid path: {shown(text)}")
    return path


def _find(path: Path) -> tuple[str, StoredFile]:
    path = absolute(path)
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a device or a pipe"
        raise InvalidRequestError(f"{path} is {kind}, not a file")
    return _file_name(path), StoredFile(path, found.st_size, found.st_mtime_ns)


def _file_name(path: str | Path) -> str:
    """The file name, with `?` for what its file system could not decode, since UTF-8 cannot hold that."""
    return Path(path).name.encode("utf-8", "replace").decode("utf-8")


async def _read_file(file: Any, label: str, max_bytes: int, threads: Threads) -> bytes:
    """Read a file object from its position to its end, or to one byte more than allowed."""
    data = bytearray()
    while len(data) <= max_bytes:
        try:
            piece = await threads.run(file.read, min(2**20, max_bytes + 1 - len(data)))
            piece = await piece if inspect.isawaitable(piece) else piece
        except Exception as error:  # closed, not binary, or broken in its own way
            raise InvalidRequestError(f"{label} cannot be read: {error}; open it with 'rb'") from error
        if not isinstance(piece, bytes | bytearray):
            raise InvalidRequestError(f"{label} must be opened with 'rb': reading it gives {type(piece).__name__}")
        if not piece:
            break
        data += piece
    return bytes(data)


def as_pillow(value: object) -> Image | None:
    """The value, if it is a Pillow image. Does not import Pillow."""
    module = sys.modules.get("PIL.Image")
    return value if module is not None and isinstance(value, module.Image) else None


def _encode_png(image: Image, label: str) -> bytes:
    """The image as it is seen: a PNG keeps no EXIF orientation."""
    from PIL import ImageOps

    file = io.BytesIO()
    try:
        ImageOps.exif_transpose(image).convert(_PNG_MODES.get(image.mode, "RGB")).save(file, "PNG")
    except Exception as error:  # whatever Pillow raises for a broken file
        raise InvalidRequestError(f"{label} cannot be encoded as a PNG: {error}") from error
    return file.getvalue()


def check_file(file: BinaryIO, size: int, rules: FileRules) -> ImageFormat:
    """The format of an open file of `size` bytes. A `ValueError` continues a sentence that begins with its name."""
    if size == 0:
        raise ValueError("is empty")
    if size > rules.max_bytes:
        raise ValueError(f"has more than the allowed {rules.max_bytes:,} bytes")
    allowed = " or ".join(rules.formats)
    try:
        format_ = read_file_format(file, size)
    except ValueError as error:
        raise ValueError(f"must be {allowed}: {error}") from error
    if format_.name not in rules.formats:
        raise ValueError(f"must be {allowed}, but its bytes are {format_.name}")
    return format_


def _check(content: Content, rules: FileRules) -> ImageFormat:
    with open_content(content) as file:
        return check_file(file, len(content), rules)
