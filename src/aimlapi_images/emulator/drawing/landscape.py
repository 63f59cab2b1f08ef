"""Landscapes that depend on the prompt only."""

from __future__ import annotations

import hashlib
import math
import random
from typing import Final

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from aimlapi_images.emulator.drawing.lettering import add_badge, add_caption
from aimlapi_images.emulator.drawing.picture import Picture

Color = tuple[int, int, int]

# Sky from the top down, then the sun, the farthest ridge and the nearest one.
_PALETTES: Final[tuple[tuple[Color, Color, Color, Color, Color, Color], ...]] = (
    ((34, 44, 96), (214, 107, 122), (255, 205, 140), (255, 236, 190), (168, 112, 140), (32, 26, 52)),
    ((24, 92, 150), (120, 186, 214), (250, 236, 206), (255, 250, 226), (140, 176, 190), (20, 58, 66)),
    ((18, 20, 52), (56, 56, 118), (150, 120, 178), (240, 240, 255), (92, 84, 148), (14, 14, 34)),
    ((46, 98, 104), (150, 190, 160), (250, 226, 170), (255, 244, 204), (132, 168, 142), (26, 56, 48)),
    ((94, 34, 60), (228, 92, 70), (255, 190, 96), (255, 232, 160), (186, 84, 78), (46, 18, 34)),
    ((60, 78, 130), (170, 170, 208), (252, 214, 214), (255, 246, 236), (160, 150, 190), (44, 46, 84)),
)
_LAYERS: Final = {"low": 3, "medium": 5, "high": 7}


def tones(picture: Picture) -> tuple[Color, Color, Color]:
    """Choose a dark, a medium and a light color for a picture."""
    (_, middle, light), _, _, near = _choose(_chance(picture))
    return near, middle, light


def _chance(picture: Picture) -> random.Random:
    text = picture.prompt + (f"\0{picture.number}" if picture.number else "")
    return random.Random(hashlib.sha256(text.encode("utf-8", "replace")).digest())  # noqa: S311


def draw(picture: Picture) -> Image.Image:
    """Draw a picture, with its badge and its caption."""
    canvas = _draw_plain(picture) if picture.plain else _draw_landscape(picture)
    add_badge(canvas)
    add_caption(canvas, picture.prompt)
    return canvas if picture.transparent else canvas.convert("RGB")


def _draw_plain(picture: Picture) -> Image.Image:
    color = _chance(picture).choices(range(40, 200), k=3)
    return Image.new("RGBA", (picture.width, picture.height), (*color, 0 if picture.transparent else 255))


def _draw_landscape(picture: Picture) -> Image.Image:
    chance = _chance(picture)
    sky_colors, sun_color, far, near = _choose(chance)
    width, height = picture.width, picture.height
    horizon = round(height * chance.uniform(0.66, 0.74))

    canvas = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    if not picture.transparent:
        canvas.paste(_sky(sky_colors, width, horizon))
        if sum(sky_colors[0]) < 220:
            _stars(canvas, chance, horizon)
    _sun(canvas, chance, sun_color, horizon, glow=not picture.transparent)
    layers = _LAYERS.get(picture.quality, _LAYERS["medium"])
    for layer in range(layers):
        nearness = layer / (layers - 1)
        _ridge(canvas, chance, _blend(far, near, nearness**1.2), nearness, horizon, trees=layer == layers - 1)
    _water(canvas, horizon, near)
    return canvas


def _choose(chance: random.Random) -> tuple[tuple[Color, Color, Color], Color, Color, Color]:
    top, middle, low, sun, far, near = chance.choice(_PALETTES)
    return (top, middle, low), sun, far, near


def _blend(a: Color, b: Color, share: float) -> Color:
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


def _sky(colors: tuple[Color, Color, Color], width: int, horizon: int) -> Image.Image:
    gradient = Image.linear_gradient("L").resize((width, horizon))
    return ImageOps.colorize(gradient, black=colors[0], mid=colors[1], white=colors[2], midpoint=150)


def _stars(canvas: Image.Image, chance: random.Random, horizon: int) -> None:
    draw = ImageDraw.Draw(canvas)
    for _ in range(160):
        x, y = chance.uniform(0, canvas.width), chance.uniform(0, 1) ** 1.7 * horizon * 0.8
        radius, light = chance.uniform(0.4, 1.4) * canvas.width / 1024, chance.randint(120, 240)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(light, light, 255))


def _sun(canvas: Image.Image, chance: random.Random, color: Color, horizon: int, *, glow: bool) -> None:
    radius = max(1, round(min(canvas.size) * chance.uniform(0.07, 0.12)))
    x = round(canvas.width * chance.uniform(0.25, 0.75))
    y = round(horizon * chance.uniform(0.35, 0.62))
    if glow:
        reach = radius * 7
        # The gradient runs from 0 in the middle to 180 at the sides.
        light = Image.radial_gradient("L").point(lambda value: max(0, 180 - value) ** 2 // 200)
        canvas.paste(color, (x - reach, y - reach), light.resize((2 * reach, 2 * reach)))
    disc = Image.new("L", (8 * radius, 8 * radius))
    ImageDraw.Draw(disc).ellipse((0, 0, 8 * radius - 1, 8 * radius - 1), fill=255)
    canvas.paste(color, (x - radius, y - radius), disc.reduce(4))


def _ridge(
    canvas: Image.Image, chance: random.Random, color: Color, nearness: float, horizon: int, *, trees: bool
) -> None:
    width = canvas.width
    base = horizon * (0.60 + 0.33 * nearness)
    waves = [
        (horizon * 0.16 / 2.0**octave, chance.uniform(0.7, 1.4) * 2**octave, chance.random()) for octave in range(6)
    ]

    def outline(x: float) -> float:
        return base - sum(
            height * (1.0 - abs(math.sin(math.pi * (x / width * rate + shift)))) * (1 - 0.55 * nearness)
            for height, rate, shift in waves
        )

    # Drawn at twice the size and halved, for smooth edges.
    mask = Image.new("L", (2 * width, 2 * horizon))
    draw = ImageDraw.Draw(mask)
    line = [(2.0 * x, 2 * outline(x)) for x in range(0, width + 3, 3)]
    draw.polygon([*line, (2.0 * width, 2.0 * horizon), (0, 2 * horizon)], fill=255)
    if trees:
        _trees(draw, chance, [(x / 2, y / 2) for x, y in line], horizon)
    body = ImageOps.colorize(
        Image.linear_gradient("L").resize((width, horizon)),
        black=_blend(color, (255, 255, 255), 0.10),
        white=_blend(color, (0, 0, 0), 0.12),
    )
    canvas.paste(body, (0, 0), mask.reduce(2))


def _trees(draw: ImageDraw.ImageDraw, chance: random.Random, line: list[tuple[float, float]], horizon: int) -> None:
    for x, y in line:
        if chance.random() < 0.22:
            height = horizon * chance.uniform(0.025, 0.07)
            for tier in range(3):
                top, half = y - height * (1 - 0.25 * tier), height * (0.10 + 0.06 * tier)
                foot = y - height * (0.5 - 0.3 * tier) + 4
                draw.polygon([(2 * x, 2 * top), (2 * (x + half), 2 * foot), (2 * (x - half), 2 * foot)], fill=255)


def _water(canvas: Image.Image, horizon: int, shade: Color) -> None:
    depth = canvas.height - horizon
    above = canvas.crop((0, horizon - depth, canvas.width, horizon))
    mirror = ImageOps.flip(above).filter(ImageFilter.GaussianBlur(canvas.height / 500))
    alpha = mirror.getchannel("A")
    veil = Image.new("RGBA", mirror.size, (*_blend(shade, (40, 60, 80), 0.4), 255))
    water = Image.blend(mirror, veil, 0.38)
    # Ripples: shift each row sideways, and nearer rows further.
    rippled = Image.new("RGBA", water.size)
    for y in range(depth):
        shift = round(math.sin(y * 0.9 + math.sin(y * 0.13) * 3) * (1 + 10 * y / depth))
        rippled.paste(ImageChops.offset(water.crop((0, y, canvas.width, y + 1)), shift, 0), (0, y))
    rippled.putalpha(alpha)
    canvas.paste(rippled, (0, horizon))
