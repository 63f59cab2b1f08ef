"""`Picture`: what to draw, and the bytes of what was drawn."""

from __future__ import annotations

import io
from typing import Final

import attrs
from PIL import Image

FORMATS: Final = ("png", "jpeg", "webp")


@attrs.frozen
class Picture:
    """A picture to draw.

    Attributes:
        prompt: The prompt. It determines the colors and shapes, and is the caption.
        width: The width in pixels.
        height: The height in pixels.
        quality: `low`, `medium` or `high`: more or less detail.
        output_format: `png`, `jpeg` or `webp`.
        compression: 0 to 100, for jpeg and webp.
        transparent: Whether to draw an alpha channel instead of a sky.
        number: The index among several pictures for one prompt, from 0. Each looks different.
        plain: Whether to draw a single color instead of a landscape.
    """

    prompt: str
    width: int = 1024
    height: int = 1024
    quality: str = "medium"
    output_format: str = "png"
    compression: int = 100
    transparent: bool = False
    number: int = 0
    plain: bool = False


def encode(image: Image.Image, picture: Picture) -> bytes:
    """Encode an image in the format of the picture."""
    file = io.BytesIO()
    if picture.output_format == "png":
        image.save(file, "PNG", compress_level=1 if picture.plain else 3)
    elif picture.output_format == "jpeg":
        image.convert("RGB").save(file, "JPEG", quality=max(1, picture.compression))
    else:
        image.save(file, "WEBP", quality=picture.compression, method=2)
    return file.getvalue()
