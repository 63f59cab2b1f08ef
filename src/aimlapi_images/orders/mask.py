"""Masks: PNG files whose fully transparent pixels mark what to redraw in an image.

The rules come from the API's documentation of edits, as described in `openapi/edits.json`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.media.formats import ImageFormat, read_file_format, read_format
from aimlapi_images.models import GeneratedImage
from aimlapi_images.orders.image_input import ImageInput, as_pillow, check_readable
from aimlapi_images.orders.order import as_path
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
    pillow = _pillow()
    width, height = _size_of(image)
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
    mask: Image = pillow.new("RGBA", (width, height), (0, 0, 0, _OPAQUE))
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
    pillow = _pillow()
    alpha = _luminance(image).point(lambda light: _TRANSPARENT if (light >= _WHITE_FROM) != invert else _OPAQUE)
    lowest, highest = alpha.getextrema()
    if lowest == highest:
        kept = "kept" if lowest == _OPAQUE else "redrawn"
        raise InvalidRequestError(f"the picture must have both black and white: all of the image would be {kept}")
    mask: Image = pillow.new("RGBA", alpha.size, (0, 0, 0, _OPAQUE))
    mask.putalpha(alpha)
    return mask


def check_mask(file: BinaryIO, mask: ImageFormat, image: ImageFormat) -> None:
    """Check the size and the alpha channel of a mask whose file type and file size are valid.

    Args:
        file: The mask's file, a PNG.
        mask: The mask's format.
        image: The format of the first image to edit.

    Raises:
        InvalidRequestError: The mask differs in size from the image, has no alpha channel, or marks nothing or
            everything; or Pillow, which is needed to see that, is missing.
    """
    size, wanted = (f"{each.width}x{each.height}" for each in (mask, image))
    if size != wanted:
        raise InvalidRequestError(f"the mask is {size} and the first image is {wanted}: they must be the same size")
    try:
        pillow = _pillow()
    except ModuleNotFoundError as error:
        raise InvalidRequestError(str(error)) from error
    try:
        file.seek(0)
        with pillow.open(file, formats=["PNG"]) as picture:
            has_alpha = picture.has_transparency_data
            lowest, highest = picture.convert("RGBA").getchannel("A").getextrema()
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
        raise ModuleNotFoundError('masks need Pillow: pip install "aimlapi-images[images]"') from error
    return Image


def _size_of(image: ImageInput) -> tuple[int, int]:
    if pillow := as_pillow(image):
        return pillow.size
    if isinstance(image, GeneratedImage):
        return image.width, image.height
    source = _source(image)
    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                found = read_file_format(file, os.fstat(file.fileno()).st_size)
        else:
            position = source.tell()
            data = source.read()
            source.seek(position)
            found = read_format(data)
    except OSError as error:
        raise unreadable(image, error) from error
    except ValueError as error:
        raise InvalidRequestError(f"the image cannot be read: {error}") from error
    except (AttributeError, TypeError) as error:
        raise InvalidRequestError(f"the image cannot be read: {error}; open it with 'rb'") from error
    return found.width, found.height


def _luminance(image: ImageInput) -> Image:
    """The lightness of each pixel, on a black background."""
    pillow = as_pillow(image)
    source = None if pillow else _source(image)
    try:
        if pillow:
            return _on_black(pillow)
        with _pillow().open(source) as picture:
            return _on_black(picture)
    except Exception as error:  # whatever Pillow raises for a broken file
        raise InvalidRequestError(f"the picture cannot be read: {error}") from error


def _on_black(picture: Image) -> Image:
    flat: Image = _pillow().new("RGBA", picture.size, (0, 0, 0, _OPAQUE))
    flat.alpha_composite(_eight_bits(picture).convert("RGBA"))
    return flat.convert("L")


def _eight_bits(image: Image) -> Image:
    """Scale pixels of 16 bits or more, which Pillow would clip at 255."""
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda light: light / 257).convert("L")
    return image


def _source(image: Any) -> Any:
    """The image as a path or a file object."""
    match image:
        case str() | os.PathLike():
            return as_path(image, "image")
        case bytes() | bytearray() | memoryview():
            return io.BytesIO(image)
        case GeneratedImage():
            try:
                return io.BytesIO(image.data)
            except OSError as error:  # its file is gone
                raise unreadable(image.path, error) from error
    return check_readable(image, "image")
