"""Editing of images: redraw the area that a mask marks, and keep the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Final

import attrs
from PIL import Image, ImageDraw, ImageOps

from aimlapi_images.emulator.drawing.landscape import draw, tones
from aimlapi_images.emulator.drawing.lettering import add_badge, add_badge_inside, add_caption
from aimlapi_images.emulator.drawing.picture import Picture

# Landscapes are drawn at about this size, and made smaller or larger where a mask asks for it.
_CANVAS: Final = 1024
_SLIMMEST: Final = 2.0
_TILE_SHARE: Final = 0.55


def edit(images: Sequence[IO[bytes]], mask: IO[bytes] | None, picture: Picture) -> Image.Image:
    """Edit the first image, or combine all of them into a new one.

    With a mask, the pixels outside it are those of the first image, and those inside show a landscape for the
    prompt, with the other images in it. Without one, a single image gets the prompt's colors and its caption;
    several become a landscape with all of them in it.

    Args:
        images: Image files.
        mask: A PNG whose fully transparent pixels mark what to redraw.
        picture: The requested picture; its width and height are those of the result.
    """
    size = (picture.width, picture.height)
    if mask is not None:
        return _inpaint(_load(images[0], size, _size_of(mask)), mask, picture, images[1:])
    if len(images) == 1:
        return _restyle(_load(images[0], size), picture)
    return _compose(picture, images, size)


def _size_of(mask: IO[bytes]) -> tuple[int, int]:
    mask.seek(0)
    with Image.open(mask) as image:
        return image.size


def _load(file: IO[bytes], size: tuple[int, int], mask: tuple[int, int] | None = None) -> Image.Image:
    """Read an image with 8 bits per channel, and resize it to the size of the result if it differs.

    An image with an EXIF orientation is turned if a mask has the size of the turned one.
    """
    file.seek(0)
    with Image.open(file) as image:
        if mask is not None and mask != image.size:
            ImageOps.exif_transpose(image, in_place=True)
        plain = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return plain if plain.size == size else plain.resize(size)


def _inpaint(base: Image.Image, mask: IO[bytes], picture: Picture, others: Sequence[IO[bytes]]) -> Image.Image:
    mask.seek(0)
    with Image.open(mask) as image:
        alpha = image.convert("RGBA").getchannel("A").resize(base.size, Image.Resampling.NEAREST)
    marked = alpha.point(lambda value: 255 if value == 0 else 0)
    box = marked.getbbox()
    if box is None:
        return base
    size = (box[2] - box[0], box[3] - box[1])
    hole = marked.crop(box)
    fresh = _compose(picture, others, size).convert("RGBA")
    add_badge_inside(fresh, hole)
    base.paste(fresh.convert(base.mode), box[:2], hole)
    return base


def _restyle(base: Image.Image, picture: Picture) -> Image.Image:
    dark, middle, light = tones(picture)
    toned = ImageOps.colorize(base.convert("L"), black=dark, mid=middle, white=light)
    # Two numbers may have the same colors, but not in the same strength.
    styled = Image.blend(base.convert("RGB"), toned, 0.8 - 0.05 * (picture.number % 10)).convert("RGBA")
    if picture.transparent:
        styled.putalpha(_vignette(styled.size))
    elif base.mode == "RGBA":
        styled.putalpha(base.getchannel("A"))
    if min(styled.size) >= _CANVAS // 4:
        add_badge(styled)
        for _ in range(2):  # the panel lets shine through what is under it, as an earlier caption
            add_caption(styled, picture.prompt)
    return styled if picture.transparent or base.mode == "RGBA" else styled.convert("RGB")


def _compose(picture: Picture, images: Sequence[IO[bytes]], size: tuple[int, int]) -> Image.Image:
    """Draw a landscape with the images in it as framed pictures, side by side."""
    canvas = _background(picture, size).convert("RGBA")
    columns = min(len(images), 4)
    for number, file in enumerate(images):
        row, column = divmod(number, columns)
        width, height = size[0] // columns, size[1] // -(-len(images) // columns)
        tile = _load_tile(file, max(1, round(width * _TILE_SHARE)), max(1, round(height * _TILE_SHARE)))
        left, top = column * width + (width - tile.width) // 2, row * height + (height - tile.height) // 2
        frame = max(1, width // 40)
        edges = (left - frame, top - frame, left + tile.width + frame - 1, top + tile.height + frame - 1)
        ImageDraw.Draw(canvas).rectangle(edges, fill=(250, 248, 240, 255))
        canvas.alpha_composite(tile, (left, top))
    if images and min(size) >= _CANVAS // 4:
        add_badge(canvas)  # once more, where an image may cover it
    return canvas if picture.transparent else canvas.convert("RGB")


def _load_tile(file: IO[bytes], width: int, height: int) -> Image.Image:
    file.seek(0)
    with Image.open(file) as image:
        image.draft("RGB", (width, height))
        return ImageOps.fit(image.convert("RGBA"), (width, height))


def _background(picture: Picture, size: tuple[int, int]) -> Image.Image:
    """Draw a picture of any size; very small or narrow ones are cut from a larger one to avoid distortion."""
    width, height = size
    slimness = min(_SLIMMEST, max(1 / _SLIMMEST, width / height))
    across = round(_CANVAS * min(1.0, slimness))
    return ImageOps.fit(draw(attrs.evolve(picture, width=across, height=round(across / slimness))), size)


def _vignette(size: tuple[int, int]) -> Image.Image:
    return Image.radial_gradient("L").point(lambda value: max(0, min(255, 8 * (125 - value)))).resize(size)
