"""Masks: PNG files whose fully transparent pixels mark what to redraw. Their rules are from `openapi/edits.json`."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.media.formats import ImageFormat
from aimlapi_images.orders.image_input import ImageInput, as_pillow, source_of
from aimlapi_images.orders.schema_messages import shown
from aimlapi_images.orders.uploads import unreadable

if TYPE_CHECKING:
    from PIL.Image import Image

_OPAQUE: Final = 255
_TRANSPARENT: Final = 0
_WHITE_FROM: Final = 128


def mask_from_box(image: ImageInput, box: Sequence[int]) -> Image:
    """Make a mask that redraws a rectangle of an image and keeps the rest.

    Args:
        image: The image to edit. Only its size is used; an open file keeps its position.
        box: Left, top, width and height of the rectangle in pixels.

    Returns:
        A Pillow image of mode RGBA, to pass to `ImageClient.edit` as `mask` or to save as a PNG.

    Raises:
        InvalidRequestError: The box is empty, not inside the image, or all of it; or the image cannot be read.
        ModuleNotFoundError: Pillow is missing (`pip install "aimlapi-images[images]"`).
    """
    with _opened(image, "image") as picture:
        width, height = picture.size
    if not isinstance(box, Sequence) or len(box) != 4 or not all(type(each) is int for each in box):
        raise InvalidRequestError(f"box must be four integers, left, top, width and height, got {shown(box)}")
    left, top, across, down = box
    name = f"the box {left},{top},{across},{down}"
    if across < 1 or down < 1:
        raise InvalidRequestError(f"{name} is empty: width and height must be at least 1")
    if left < 0 or top < 0 or left + across > width or top + down > height:
        raise InvalidRequestError(f"{name} is not inside the image, which is {width}x{height}")
    if (across, down) == (width, height):
        raise InvalidRequestError("the box is the whole image: to redraw all of it, leave out the mask")
    mask: Image = _pillow().new("RGBA", (width, height), (0, 0, 0, _OPAQUE))
    mask.paste((0, 0, 0, _TRANSPARENT), (left, top, left + across, top + down))
    return mask


def mask_from_luminance(image: ImageInput, invert: bool = False) -> Image:
    """Make a mask from a black-and-white picture, as painting tools save them: redraw white, keep black.

    Gray counts as the nearer of the two, because the API only distinguishes full transparency. Transparent
    pixels of the picture count as black.

    Args:
        image: The picture, of the same size as the image to edit.
        invert: Redraw black and keep white.

    Returns:
        A Pillow image of mode RGBA, to pass to `ImageClient.edit` as `mask` or to save as a PNG.

    Raises:
        InvalidRequestError: The picture is all white or all black, or cannot be read.
        ModuleNotFoundError: Pillow is missing (`pip install "aimlapi-images[images]"`).
    """
    with _opened(image, "picture") as picture:
        light = _luminance(picture)
    alpha = light.point(lambda level: _TRANSPARENT if (level >= _WHITE_FROM) != invert else _OPAQUE)
    lowest, highest = alpha.getextrema()
    if lowest == highest:
        kept = "kept" if lowest == _OPAQUE else "redrawn"
        raise InvalidRequestError(f"the picture must have both black and white: all of the image would be {kept}")
    mask: Image = _pillow().new("RGBA", alpha.size, (0, 0, 0, _OPAQUE))
    mask.putalpha(alpha)
    return mask


def check_mask(file: BinaryIO, mask: ImageFormat, image: ImageFormat) -> None:
    """Check a PNG as a mask of an image: the same size, and an alpha channel that marks some of it but not all."""
    size, wanted = (f"{each.width}x{each.height}" for each in (mask, image))
    if size != wanted:
        raise InvalidRequestError(f"the mask is {size} and the first image is {wanted}: they must be the same size")
    try:
        file.seek(0)
        with _pillow().open(file, formats=["PNG"]) as picture:
            has_alpha = picture.has_transparency_data
            lowest, highest = picture.convert("RGBA").getchannel("A").getextrema()
    except Exception as error:  # Pillow is missing, or whatever it raises for a broken file
        raise InvalidRequestError(f"the mask cannot be decoded: {error}") from error
    if not has_alpha:
        raise InvalidRequestError(
            "the mask has no alpha channel, and its transparent pixels mark what to redraw: "
            "mask_from_luminance() makes a mask from a black-and-white picture"
        )
    if highest == _TRANSPARENT:
        raise InvalidRequestError("the mask is fully transparent: to redraw the whole image, leave out the mask")
    if lowest != _TRANSPARENT:
        found = "is fully opaque" if lowest == _OPAQUE else f"has no fully transparent pixel (lowest alpha: {lowest})"
        raise InvalidRequestError(f"the mask {found}, so nothing would be redrawn")


def _pillow() -> Any:
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('masks need Pillow: pip install "aimlapi-images[images]"') from error
    return Image


@contextmanager
def _opened(image: ImageInput, name: str) -> Iterator[Image]:
    """The image as Pillow opens it. An open file keeps its position."""
    pillow = _pillow()
    drawn = as_pillow(image)
    source = None if drawn else source_of(image, "image")
    try:
        with nullcontext(drawn) if drawn else pillow.open(_rewound(source)) as picture:
            yield picture
    except pillow.UnidentifiedImageError as error:
        raise InvalidRequestError(f"the {name} cannot be read: it is not an image, or Pillow cannot open it") from error
    except Exception as error:  # whatever Pillow raises for a broken file
        if isinstance(error, OSError) and error.strerror:  # from the system
            raise unreadable(source, error) from error
        raise InvalidRequestError(f"the {name} cannot be read: {error}") from error


def _rewound(source: Any) -> Any:
    """The path, or a file object for what an open file or bytes hold."""
    if isinstance(source, Path):
        return source
    if isinstance(source, bytes):
        return io.BytesIO(source)
    position = source.tell()
    data = source.read()
    source.seek(position)
    return io.BytesIO(data)


def _luminance(picture: Image) -> Image:
    """The lightness of each pixel, on a black background."""
    if picture.mode.startswith("I"):  # 16 bits or more, which Pillow would clip at 255
        picture = picture.convert("I").point(lambda light: light / 257).convert("L")
    flat: Image = _pillow().new("RGBA", picture.size, (0, 0, 0, _OPAQUE))
    flat.alpha_composite(picture.convert("RGBA"))
    return flat.convert("L")
