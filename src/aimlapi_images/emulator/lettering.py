"""Text on emulated pictures: a badge, and the prompt as a caption."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

from PIL import Image, ImageDraw, ImageFont

_BADGE: Final = "EMULATED · not a generated image"


def add_badge(canvas: Image.Image) -> None:
    """Draw a badge in the upper left corner that marks a picture as emulated."""
    font = _font(canvas.width // 46)
    draw = ImageDraw.Draw(canvas, "RGBA")
    left, top, right, bottom = draw.textbbox((0, 0), _BADGE, font=font)
    margin, pad = canvas.width // 40, canvas.width // 90
    box = (margin, margin, margin + right - left + 2 * pad, margin + bottom - top + 2 * pad)
    draw.rounded_rectangle(box, radius=pad, fill=(255, 206, 64, 255))
    draw.text((margin + pad - left, margin + pad - top), _BADGE, font=font, fill=(40, 30, 10, 255))


def add_caption(canvas: Image.Image, prompt: str) -> None:
    """Write the prompt on a panel at the bottom, in up to three lines."""
    margin, pad = canvas.width // 40, canvas.width // 60
    font = _font(canvas.width // 34)
    lines = _wrap(prompt, font, canvas.width - 2 * (margin + pad), at_most=3)
    height = round(font.size * 1.35)
    top = canvas.height - margin - 2 * pad - height * len(lines)
    panel = Image.new("RGBA", canvas.size)
    draw = ImageDraw.Draw(panel)
    box = (margin, top, canvas.width - margin, canvas.height - margin)
    draw.rounded_rectangle(box, radius=pad, fill=(10, 12, 20, 190))
    for number, line in enumerate(lines):
        place = (margin + pad, top + pad + number * height)
        draw.text(place, line, font=font, fill=(250, 248, 240, 255))
    canvas.alpha_composite(panel)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int, *, at_most: int) -> list[str]:
    lines: list[str] = []
    # Prompts may have 32,000 characters, most of which do not fit.
    for word in _readable(text[:600], font).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > at_most:
        lines = [*lines[: at_most - 1], f"{lines[at_most - 1]} …"]
    return [_fit(line, font, width) for line in lines]


def _readable(text: str, font: ImageFont.FreeTypeFont) -> str:
    """Replace characters that Pillow's default font lacks: remove accents, and use boxes for the rest.

    System fonts have more characters, but differ between machines, and so would the pictures.
    """
    plain = unicodedata.normalize("NFKC", text).translate(_PLAIN)
    return "".join(
        letter if letter.isspace() or _has_glyph(letter, font) else unicodedata.normalize("NFD", letter)[0]
        for letter in plain
    )


_PLAIN: Final = str.maketrans(
    {"–": "-", "—": "-", "ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "ł": "l", "×": "x"}
)


def _has_glyph(letter: str, font: ImageFont.FreeTypeFont) -> bool:
    return bytes(font.getmask(letter)) != bytes(font.getmask("\uffff"))


def _fit(line: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    kept = line.removesuffix(" …")
    while kept and font.getlength(f"{kept} …") > width:
        kept = kept[:-1]
    return f"{kept.rstrip()} …"


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(max(1, size))
    if not isinstance(font, ImageFont.FreeTypeFont):  # pragma: no cover - every wheel of Pillow has FreeType
        raise TypeError("the emulator's captions need a Pillow with FreeType")
    return font
