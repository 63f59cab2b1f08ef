"""Which picture a request asks for: its size, in any of the fields that models use for it, its format and its price."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from aimlapi_images.emulator.answers import ApiError
from aimlapi_images.emulator.drawing.picture import FORMATS, Picture

# Fields that determine a size alone; `aspect_ratio` and `resolution` determine it together.
WAYS: Final = ("size", "image_size", "width", "height")
_EDGE: Final = 1024
_LIMITS: Final = (1, 4096)

# US dollars for a square and for a larger image. Invented, in the order of real prices.
_PRICES: Final = {"low": (0.009, 0.013), "medium": (0.034, 0.050), "high": (0.133, 0.200)}

_NAMED: Final = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}


def picture_of(asked: Mapping[str, Any], number: int = 0, *, plain: bool = False) -> Picture:
    """Translate a request to a picture.

    Args:
        asked: The fields of the request, including defaults. Common defaults apply to fields that a model lacks.
        number: The index among several pictures of one request, from 0.
        plain: Whether to draw a single color instead of a landscape.

    Raises:
        ApiError: The emulator cannot draw it.
    """
    width, height = size_of(asked)
    asked_format = str(asked.get("output_format", "png"))
    output_format = "jpeg" if asked_format == "jpg" else asked_format
    if output_format not in FORMATS:
        raise ApiError(400, f"The emulator draws {', '.join(FORMATS)}, and not {asked_format}.")
    return Picture(
        # Some models need no prompt.
        prompt=str(asked.get("prompt") or asked.get("model", "")),
        width=width,
        height=height,
        quality=str(asked.get("quality", "medium")),
        output_format=output_format,
        compression=int(asked.get("output_compression", 100)),
        transparent=asked.get("background") == "transparent",
        number=number,
        plain=plain,
    )


def price_of(asked: Mapping[str, Any]) -> float:
    """The price of one picture in US dollars."""
    width, height = size_of(asked)
    return _PRICES.get(str(asked.get("quality")), _PRICES["medium"])[width * height > 1024 * 1024]


def size_of(asked: Mapping[str, Any]) -> tuple[int, int]:
    """Return width and height in pixels; 1024x1024 if the request leaves them to the model, such as with `auto`.

    Raises:
        ApiError: The emulator cannot draw that small or large.
    """
    width, height = _pixels(asked)
    smallest, largest = _LIMITS
    if not (smallest <= width <= largest and smallest <= height <= largest):
        raise ApiError(400, f"The emulator draws {smallest} to {largest} pixels a side, and not {width}x{height}.")
    return width, height


def _pixels(asked: Mapping[str, Any]) -> tuple[int, int]:
    edge = _edge(asked.get("resolution")) or _EDGE
    for way in (asked.get("size"), asked.get("image_size"), asked):
        if isinstance(way, Mapping) and {"width", "height"} & way.keys():
            return int(way.get("width", edge)), int(way.get("height", edge))
        if isinstance(way, str):
            if found := re.fullmatch(r"(\d{1,6})\s*[x*×]\s*(\d{1,6})", way):
                return int(found[1]), int(found[2])
            if way in _NAMED:
                return _NAMED[way]
            edge = _edge(way) or edge
    return _of_ratio(str(asked.get("aspect_ratio")), edge)


def _edge(resolution: object) -> int | None:
    """The side length in pixels for `1K`, `1.5K` or `4k`."""
    found = re.fullmatch(r"(\d(?:\.\d)?)k", str(resolution).lower())
    return round(float(found[1]) * _EDGE) if found else None


def _of_ratio(ratio: str, edge: int) -> tuple[int, int]:
    """The size with a ratio such as `16:9` and as many pixels as a square with that edge."""
    found = re.fullmatch(r"(\d{1,3}(?:\.\d+)?):(\d{1,3}(?:\.\d+)?)", ratio)
    wide, high = (float(found[1]), float(found[2])) if found else (1.0, 1.0)
    if not wide or not high:
        return edge, edge
    stretch = math.sqrt(wide / high)
    return min(round(edge * stretch / 8) * 8, _LIMITS[1]), min(round(edge / stretch / 8) * 8, _LIMITS[1])
