"""Small copies of images, made by Pillow. Without Pillow there are none, and the images themselves are shown."""

from __future__ import annotations

import io
from collections.abc import Set
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, Final

from aimlapi_images.media.files import write_whole

FOLDER: Final = ".thumbnails"  # the name of no job's file: those never begin with a dot
SUFFIX: Final = ".webp"
_PIXELS: Final = 400  # sharp on a card of 200 CSS pixels, also on a display with two pixels for each
_QUALITY: Final = 75


def available() -> bool:
    """Whether Pillow is installed."""
    return find_spec("PIL") is not None


def thumbnail_path(sha256: str) -> str:
    """The path of an image's thumbnail, relative to the batch's folder.

    Its name is the image's content, so that one that exists is right. No folder gets more than a few hundred for
    100,000 images.
    """
    return f"{FOLDER}/{sha256[:2]}/{sha256[2:34]}{SUFFIX}"


def make_thumbnail(folder: Path, image: str, sha256: str) -> str | None:
    """Make the thumbnail of an image, unless it exists. Blocks.

    Args:
        folder: The batch's folder.
        image: The image, relative to it.
        sha256: Digest of the image in hexadecimal.

    Returns:
        Its path, relative to the folder, or `None` if it cannot be made.
    """
    path = folder / thumbnail_path(sha256)
    try:
        if not path.exists():
            small = shrink(folder / image)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, small, overwrite=True)
    except Exception:  # whatever Pillow makes of the file, or the disk of the copy
        return None
    return thumbnail_path(sha256)


def shrink(image: Path | BinaryIO, pixels: int = _PIXELS) -> bytes:
    """A small WebP copy of an image. Raises whatever Pillow raises."""
    from PIL import Image

    with Image.open(image) as opened:
        opened.draft("RGB", (pixels, pixels))  # decodes a JPEG in a fraction of the time
        small = opened.convert("RGBA" if opened.has_transparency_data else "RGB")
        small.thumbnail((pixels, pixels), reducing_gap=2.0)
    written = io.BytesIO()
    small.save(written, "WEBP", quality=_QUALITY, method=2)
    return written.getvalue()


def remove_others(folder: Path, used: Set[str]) -> None:
    """Remove thumbnails of images that the batch no longer has."""
    for path in (folder / FOLDER).glob(f"??/*{SUFFIX}"):
        if path.relative_to(folder).as_posix() not in used:
            with suppress(OSError):
                path.unlink()
