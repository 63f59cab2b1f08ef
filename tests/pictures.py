"""Small images for tests of edits."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from aimlapi_images import mask_from_box

SIZE = (12, 10)


def saved(image: Image.Image, format_: str = "PNG", **options: Any) -> bytes:
    """Encode a Pillow image."""
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def plain(format_: str = "PNG", size: tuple[int, int] = SIZE) -> bytes:
    """Encode an image of one color."""
    return saved(Image.new("RGB", size, "teal"), format_)


def mask(size: tuple[int, int] = SIZE) -> Image.Image:
    """A valid mask."""
    return mask_from_box(Image.new("RGB", size), (2, 2, 4, 4))
