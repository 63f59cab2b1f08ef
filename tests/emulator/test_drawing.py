"""Badges and captions of emulated pictures."""

from __future__ import annotations

import io

import pytest
from PIL import Image, ImageDraw, ImageFont

from aimlapi_images.emulator.drawing.edited import edit
from aimlapi_images.emulator.drawing.landscape import draw
from aimlapi_images.emulator.drawing.lettering import _readable
from aimlapi_images.emulator.drawing.picture import Picture

YELLOW = (255, 206, 64)
WIDE = (1536, 1024)


@pytest.mark.parametrize(
    ("prompt", "caption"),
    [
        ("Füchse – für “alle”", "Fuchse - fur “alle”"),
        ("Ein Fuchs 🦊 im Wald", "Ein Fuchs  im Wald"),
        ("東京タワー Tokyo", ""),
        ("日本語のプロンプト", ""),
        ("Привет, мир", ""),
        ("हिन्दी", ""),
        ("مرحبا", ""),
        ("👩‍🚀", ""),
        ("\u202e\0\t", ""),
        ("\ud800", ""),
        ("\uffff\ue000", ""),
    ],
)
def test_captions_leave_out_what_the_font_lacks(prompt: str, caption: str) -> None:
    font = ImageFont.load_default(20)
    assert isinstance(font, ImageFont.FreeTypeFont)

    assert _readable(prompt, font).strip() == caption


def test_a_prompt_that_cannot_be_written_has_no_panel() -> None:
    with_caption, without = (draw(Picture(prompt, plain=True)) for prompt in ("A fox", "日本語のプロンプト"))

    assert len(without.crop((0, 512, 1024, 1024)).getcolors() or []) == 1
    assert with_caption.crop((0, 512, 1024, 1024)).getcolors(9_999) != without.crop((0, 512, 1024, 1024)).getcolors()


def yellow(image: Image.Image) -> int:
    """Number of pixels with the color of the badge."""
    colors = image.convert("RGB").getcolors(10_000_000) or []
    return sum(int(count) for count, color in colors if color == YELLOW)


def png(image: Image.Image) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file


def box(left: int, top: int, right: int, bottom: int) -> Image.Image:
    mask = Image.new("RGBA", WIDE, (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (left, top, right, bottom))
    return mask


def ellipse() -> Image.Image:
    mask = Image.new("RGBA", WIDE, (0, 0, 0, 255))
    ImageDraw.Draw(mask).ellipse((300, 200, 1200, 900), fill=(0, 0, 0, 0))
    return mask


@pytest.mark.parametrize(
    "mask",
    [box(0, 0, 800, 200), box(700, 600, 1000, 1000), box(0, 0, 1536, 1023), box(600, 500, 680, 560), ellipse()],
    ids=["over the old badge", "apart from it", "nearly all", "small", "an ellipse"],
)
def test_the_badge_survives_masks(mask: Image.Image) -> None:
    photo = Image.new("RGB", WIDE, "navy")
    inside = mask.getchannel("A").point(lambda alpha: 255 - alpha)

    edited = edit([png(photo)], png(mask), Picture("A fox", *WIDE))

    black = Image.new("RGB", WIDE)
    assert yellow(Image.composite(edited.convert("RGB"), black, inside)) > 100


@pytest.mark.parametrize("count", [1, 2, 16])
def test_a_picture_made_of_others_has_a_badge(count: int) -> None:
    files = [png(Image.new("RGB", (60, 60), "navy")) for _ in range(count)]

    assert yellow(edit(files, None, Picture("A fox", *WIDE))) > 3_000


@pytest.mark.parametrize("count", [1, 3])
def test_pictures_of_one_edit_differ(count: int) -> None:
    files = [png(Image.effect_noise((64, 64), 80)) for _ in range(count)]

    drawn = {edit(files, None, Picture("A fox", 512, 512, number=number)).tobytes() for number in range(10)}

    assert len(drawn) == 10
