"""Text on emulated pictures: a badge, and the prompt as a caption."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

from PIL import Image, ImageDraw, ImageFont

_BADGE: Final = "EMULATED · not a generated image"
# Prompts may have 32,000 characters, most of which do not fit.
_CHARACTERS: Final = 600


def add_badge(canvas: Image.Image) -> None:
    """Draw a badge in the upper left corner that marks a picture as emulated."""
    badge = _badge(canvas.width // 46)
    margin = canvas.width // 40
    canvas.paste(badge, (margin, margin), badge)


def add_badge_inside(canvas: Image.Image, area: Image.Image) -> None:
    """Draw the badge where an area is wide enough for it, smaller if it has to be, or else in the middle.

    Args:
        canvas: A picture of mode RGBA.
        area: A mask of the same size; only what is white in it will be seen.
    """
    badge = _badge(max(canvas.width // 46, 9))
    middle = (max(0, canvas.width - badge.width) // 2, max(0, canvas.height - badge.height) // 2)
    for width in range(min(badge.width, canvas.width), 59, -20):
        small = badge.resize((width, max(1, badge.height * width // badge.width)))
        for left in (0, (canvas.width - width) // 2, canvas.width - width):
            for top in range(0, canvas.height - small.height + 1, max(1, small.height // 2)):
                box = (left, top, left + width, top + small.height)
                if area.crop(box).getextrema() == (255, 255):
                    canvas.paste(small, box[:2], small)
                    return
    canvas.paste(badge, middle, badge)


@lru_cache(maxsize=8)
def _badge(size: int) -> Image.Image:
    font = _font(size)
    left, top, right, bottom = font.getbbox(_BADGE)
    pad = size // 2
    badge = Image.new("RGBA", (round(right - left) + 2 * pad, round(bottom - top) + 2 * pad))
    draw = ImageDraw.Draw(badge)
    draw.rounded_rectangle((0, 0, badge.width - 1, badge.height - 1), radius=pad, fill=(255, 206, 64, 255))
    draw.text((pad - left, pad - top), _BADGE, font=font, fill=(40, 30, 10, 255))
    return badge


def add_caption(canvas: Image.Image, prompt: str) -> None:
    """Write the prompt on a panel at the bottom, in up to three lines.

    There is no caption if the font has few of the prompt's characters.
    """
    margin, pad = canvas.width // 40, canvas.width // 60
    font = _font(canvas.width // 34)
    lines = _wrap(_readable(prompt[:_CHARACTERS], font), font, canvas.width - 2 * (margin + pad), at_most=3)
    if not lines:
        return
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
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > at_most:
        lines = [*lines[: at_most - 1], f"{lines[at_most - 1]} …"]
    return [_fit(line, font, width) for line in lines]


def _readable(text: str, font: ImageFont.FreeTypeFont) -> str:
    """Leave out what Pillow's default font lacks, and remove accents that it lacks; nothing if little is left.

    System fonts have more characters, but differ between machines, and so would the pictures.
    """
    plain = unicodedata.normalize("NFKC", text).translate(_PLAIN)
    text = "".join(_shown(letter, font) for letter in plain)
    known, all_ = (len("".join(each.split())) for each in (text, plain))
    return text if known > all_ / 2 else ""


def _shown(letter: str, font: ImageFont.FreeTypeFont) -> str:
    """A letter, or the letter without its accent, or nothing."""
    if letter.isspace():
        return " "
    for form in (letter, unicodedata.normalize("NFD", letter)[0]):
        if form.isprintable() and not unicodedata.combining(form) and _has_glyph(form, font):
            return form
    return ""


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
