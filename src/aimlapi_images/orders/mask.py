"""Masks: PNG files whose fully transparent pixels mark what to redraw. Their rules are from `openapi/edits.json`."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from aimlapi_images.about import needs_extra
from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.media.formats import ImageFormat
from aimlapi_images.media.json_values import shown
from aimlapi_images.orders.image_input import ImageInput, as_pillow, source_of
from aimlapi_images.orders.uploads import unreadable

if TYPE_CHECKING:
    from PIL.Image import Image

_OPAQUE: Final = 255
_TRANSPARENT: Final = 0
_WHITE_FROM: Final = 128
_TURNED: Final = range(5, 9)  # EXIF orientations that exchange width and height


def mask_from_box(image: ImageInput, box: Sequence[int], *more: Sequence[int]) -> Image:
    """Make a mask that redraws rectangles of an image and keeps the rest.

    Args:
        image: The image to edit. Only its size is used, as seen: turned as its EXIF orientation says. An open file
            keeps its position.
        box: Left, top, width and height of the rectangle in pixels.
        more: Further rectangles.

    Returns:
        A Pillow image of mode RGBA, to pass to `ImageClient.edit` as `mask` or to save as a PNG.

    Raises:
        InvalidRequestError: A box is empty or not inside the image, or all of it is marked; or the image cannot be
            read.
        ModuleNotFoundError: Pillow is missing, which the extra `images` installs.
    """
    with _opened(image, "image") as picture:
        width, height = _seen_size(picture)
    mask: Image = _pillow().new("RGBA", (width, height), (0, 0, 0, _OPAQUE))
    for each in (box, *more):
        if not isinstance(each, Sequence) or len(each) != 4 or not all(type(number) is int for number in each):
            raise InvalidRequestError(f"box must be four integers, left, top, width and height, got {shown(each)}")
        left, top, across, down = each
        name = f"the box {left},{top},{across},{down}"
        if across < 1 or down < 1:
            raise InvalidRequestError(f"{name} is empty: width and height must be at least 1")
        if left < 0 or top < 0 or left + across > width or top + down > height:
            raise InvalidRequestError(f"{name} is not inside the image, which is {width}x{height}")
        mask.paste((0, 0, 0, _TRANSPARENT), (left, top, left + across, top + down))
    if mask.getchannel("A").getextrema() == (_TRANSPARENT, _TRANSPARENT):
        raise InvalidRequestError("the whole image is marked: to redraw all of it, leave out the mask")
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
        ModuleNotFoundError: Pillow is missing, which the extra `images` installs.
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


def check_mask(file: BinaryIO, mask: ImageFormat, image_file: BinaryIO, image: ImageFormat) -> None:
    """Check a PNG as a mask of an image: the same size, and an alpha channel that marks some of it but not all.

    The size of an image with an EXIF orientation may be the one that is stored or the one that is seen, since the
    API's documentation does not say which it compares.
    """
    stored, size = ((each.width, each.height) for each in (image, mask))
    if size != stored and size != (seen := _turned(image_file, stored)):
        given, wanted = (f"{width}x{height}" for width, height in (size, seen))
        raise InvalidRequestError(f"the mask is {given} and the first image is {wanted}: they must be the same size")
    try:
        file.seek(0)
        with _pillow().open(file, formats=["PNG"]) as picture:
            has_alpha = picture.has_transparency_data
            lowest, highest = picture.convert("RGBA").getchannel("A").getextrema()
    except ModuleNotFoundError as error:
        raise InvalidRequestError(str(error)) from error
    except Exception as error:  # whatever Pillow raises for a broken file
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
        raise ModuleNotFoundError(needs_extra("a mask", "images")) from error
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


def _turned(file: BinaryIO, stored: tuple[int, int]) -> tuple[int, int]:
    try:
        file.seek(0)
        with _pillow().open(file) as picture:
            return _seen_size(picture)
    except Exception:  # Pillow is missing, or cannot read what the API may
        return stored


def _seen_size(picture: Image) -> tuple[int, int]:
    """Width and height after the turn that the EXIF orientation asks for."""
    width, height = picture.size
    return (height, width) if picture.getexif().get(0x0112, 1) in _TURNED else (width, height)


def _rewound(source: Any) -> Any:
    """The path, or a file object for what an open file or bytes hold."""
    if isinstance(source, Path):
        return source
    if isinstance(source, bytes):
        return io.BytesIO(source)
    position = source.tell()
    data = source.read()
    source.seek(position)
    if not isinstance(data, bytes):
        raise TypeError("open it with 'rb'")
    return io.BytesIO(data)


def _luminance(picture: Image) -> Image:
    """The lightness of each pixel, on a black background."""
    if picture.mode.startswith("I"):  # 16 bits or more, which Pillow would clip at 255
        picture = picture.convert("I").point(lambda light: light / 257).convert("L")
    flat: Image = _pillow().new("RGBA", picture.size, (0, 0, 0, _OPAQUE))
    flat.alpha_composite(picture.convert("RGBA"))
    return flat.convert("L")
