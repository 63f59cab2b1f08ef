"""Masks: what of an image is to be drawn anew. Its fully transparent pixels say so.

The source of the rules is the API's documentation of edits, as `openapi/edits.json` has it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.media.formats import ImageFormat, read_file_format, read_format
from aimlapi_images.models import GeneratedImage
from aimlapi_images.orders.image_input import ImageInput, as_pillow
from aimlapi_images.orders.uploads import unreadable

if TYPE_CHECKING:
    from PIL.Image import Image

_OPAQUE, _TRANSPARENT = 255, 0
_WHITE_FROM = 128


def mask_from_box(image: ImageInput, box: Sequence[int]) -> Image:
    """A mask by which a rectangle of an image is drawn anew, and the rest is kept.

    Args:
        image: The image that is to be edited; only its size is asked for, and an open file stays where it is.
        box: Left, top, width and height of the rectangle, in pixels.

    Returns:
        A Pillow image, to be given to `ImageClient.edit` as `mask`, or to be saved as a PNG.

    Raises:
        InvalidRequestError: The box is empty, not inside the image, or all of it; or the image cannot be read.
        ModuleNotFoundError: Pillow is missing (`pip install "aimlapi-images[images]"`).
    """
    pillow = _pillow()
    width, height = _size_of(image)
    if not isinstance(box, Sequence) or len(box) != 4 or not all(type(each) is int for each in box):
        raise InvalidRequestError(f"box is {box!r}, and has to be four whole numbers: left, top, width, height")
    left, top, across, down = box
    if across < 1 or down < 1:
        raise InvalidRequestError(f"the box {left},{top},{across},{down} is empty: width and height are 1 or more")
    if left < 0 or top < 0 or left + across > width or top + down > height:
        raise InvalidRequestError(f"the box {left},{top},{across},{down} is not inside the image, of {width}x{height}")
    if (across, down) == (width, height):
        raise InvalidRequestError("the box is the whole image: to draw all of it anew, leave the mask out")
    mask: Image = pillow.new("RGBA", (width, height), (0, 0, 0, _OPAQUE))
    mask.paste((0, 0, 0, _TRANSPARENT), (left, top, left + across, top + down))
    return mask


def mask_from_luminance(image: ImageInput, invert: bool = False) -> Image:
    """A mask from a black-and-white picture, as painting tools write them: white is drawn anew, black is kept.

    Greys count as the nearer of the two, since only full transparency says anything to the API. What is
    transparent in the picture counts as black.

    Args:
        image: The picture, of the same size as the image that is to be edited.
        invert: Draw anew what is black, and keep what is white.

    Returns:
        A Pillow image, to be given to `ImageClient.edit` as `mask`, or to be saved as a PNG.

    Raises:
        InvalidRequestError: The picture is all white or all black, or cannot be read.
        ModuleNotFoundError: Pillow is missing (`pip install "aimlapi-images[images]"`).
    """
    pillow = _pillow()
    alpha = _luminance(image).point(lambda light: _TRANSPARENT if (light >= _WHITE_FROM) != invert else _OPAQUE)
    lowest, highest = alpha.getextrema()
    if lowest == highest:
        kept = "kept" if lowest == _OPAQUE else "drawn anew"
        raise InvalidRequestError(f"the picture has only one of black and white, by which all would be {kept}")
    mask: Image = pillow.new("RGBA", alpha.size, (0, 0, 0, _OPAQUE))
    mask.putalpha(alpha)
    return mask


def check_mask(file: BinaryIO, mask: ImageFormat, image: ImageFormat) -> None:
    """Check what a mask says, beside its type and its size in bytes.

    Args:
        file: The mask's file, which is a PNG.
        mask: The mask's format.
        image: The format of the first image that is to be edited.

    Raises:
        InvalidRequestError: It has another size than the image, no alpha channel, or marks nothing or all; or
            Pillow is missing, which is needed to see that.
    """
    size, wanted = (f"{each.width}x{each.height}" for each in (mask, image))
    if size != wanted:
        raise InvalidRequestError(f"the mask is {size} and the first image {wanted}: they have to be of one size")
    try:
        pillow = _pillow()
    except ModuleNotFoundError as error:
        raise InvalidRequestError(str(error)) from error
    try:
        file.seek(0)
        with pillow.open(file, formats=["PNG"]) as picture:
            if not picture.has_transparency_data:
                raise InvalidRequestError(
                    "the mask has no alpha channel, and its transparent pixels are to say what is drawn anew: "
                    "mask_from_luminance() makes a mask of a black-and-white picture"
                )
            lowest, highest = picture.convert("RGBA").getchannel("A").getextrema()
    except InvalidRequestError:
        raise
    except Exception as error:  # whatever Pillow makes of a broken file
        raise InvalidRequestError(f"the mask cannot be decoded: {error}") from error
    if highest == _TRANSPARENT:
        raise InvalidRequestError("the mask is fully transparent: to draw the whole image anew, leave it out")
    if lowest != _TRANSPARENT:
        least = (
            "is fully opaque" if lowest == _OPAQUE else f"has no fully transparent pixel (its lowest alpha is {lowest})"
        )
        raise InvalidRequestError(f"the mask {least}, so nothing would be drawn anew")


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
    try:
        if isinstance(image, str | os.PathLike):
            with Path(image).open("rb") as file:
                found = read_file_format(file, os.fstat(file.fileno()).st_size)
        else:
            opened = _as_file(image)
            before = opened.tell()
            data = opened.read()
            opened.seek(before)
            found = read_format(data)
    except (AttributeError, TypeError) as error:
        raise InvalidRequestError(f"the image cannot be read: {error}; open it with 'rb'") from error
    except OSError as error:
        raise unreadable(image, error) from error
    except ValueError as error:
        raise InvalidRequestError(f"the image has {error}") from error
    return found.width, found.height


def _luminance(image: ImageInput) -> Image:
    """How light a picture is, pixel by pixel, on a black ground."""
    source = image if isinstance(image, str | os.PathLike) or as_pillow(image) else _as_file(image)
    try:
        if picture := as_pillow(source):
            return _on_black(picture)
        with _pillow().open(source) as picture:
            return _on_black(picture)
    except Exception as error:  # whatever Pillow makes of a broken file
        raise InvalidRequestError(f"the picture cannot be read: {error}") from error


def _on_black(picture: Image) -> Image:
    flat: Image = _pillow().new("RGBA", picture.size, (0, 0, 0, _OPAQUE))
    flat.alpha_composite(_eight_bits(picture).convert("RGBA"))
    return flat.convert("L")


def _as_file(image: Any) -> Any:
    match image:
        case bytes() | bytearray() | memoryview():
            return io.BytesIO(image)
        case GeneratedImage():
            return io.BytesIO(image.data)
    if not callable(getattr(image, "read", None)):
        raise InvalidRequestError(f"image is {image!r}, and has to be a path, bytes, a file or an image")
    return image


def _eight_bits(image: Image) -> Image:
    """Pillow cuts off at 255 where it converts pixels of 16 bits or more; here they are scaled."""
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda light: light / 257).convert("L")
    return image
