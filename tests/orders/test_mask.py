"""Masks: what the helpers mark, what they refuse, and which masks pass the checks."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from aimlapi_images import InvalidRequestError, mask_from_box, mask_from_luminance
from aimlapi_images.media.formats import ImageFormat
from aimlapi_images.orders.mask import check_mask
from conftest import scripted
from pictures import plain, saved

SIZE = (40, 30)
BOX = (5, 10, 20, 8)
INSIDE = (5, 10, 25, 18)


def painted(mode: str = "L", *, ink: Any = 255, ground: Any = 0) -> Image.Image:
    picture = Image.new(mode, SIZE, ground)
    ImageDraw.Draw(picture).rectangle((5, 10, 24, 17), fill=ink)
    return picture


def marks(mask: Image.Image) -> list[int]:
    """Left, top, right and bottom of the fully transparent part of a mask that is opaque elsewhere."""
    alpha = mask.getchannel("A")
    assert sorted(set(alpha.tobytes())) == [0, 255]
    return list(alpha.point(lambda value: 255 - value).getbbox() or ())


# ---- mask_from_box


def test_a_box_is_transparent_and_the_rest_opaque() -> None:
    mask = mask_from_box(Image.new("RGB", SIZE), BOX)

    assert (mask.mode, mask.size) == ("RGBA", SIZE)
    assert marks(mask) == list(INSIDE)
    assert mask.getchannel("A").tobytes().count(0) == 20 * 8


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "memoryview", "file", "pillow"])
def test_the_size_comes_from_an_image_in_any_form(tmp_path: Path, kind: str) -> None:
    data = saved(Image.new("RGB", SIZE))
    path = tmp_path / "cat.png"
    path.write_bytes(data)
    file = io.BytesIO(b"---" + data)
    file.seek(3)
    picture = Image.new("RGB", SIZE)
    forms: dict[str, Any] = {
        "path": path, "str": str(path), "bytes": data, "memoryview": memoryview(data), "file": file, "pillow": picture,
    }  # fmt: skip

    mask = mask_from_box(forms[kind], BOX)

    assert mask.size == SIZE
    assert file.tell() == 3


async def test_the_size_comes_from_a_generated_image() -> None:
    client, _ = scripted()
    image = await client.generate("x")

    with pytest.raises(InvalidRequestError, match="the whole image is marked"):
        mask_from_box(image, (0, 0, 1, 1))


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((0, 0, 41, 30), "the box 0,0,41,30 is not inside the image, which is 40x30"),
        ((35, 0, 6, 5), "is not inside the image"),
        ((0, 28, 5, 3), "is not inside the image"),
        ((-1, 0, 5, 5), "is not inside the image"),
        ((0, -1, 5, 5), "is not inside the image"),
        ((0, 0, 0, 0), "the box 0,0,0,0 is empty: width and height must be at least 1"),
        ((5, 5, 0, 5), "the box 5,5,0,5 is empty"),
        ((5, 5, 5, -2), "the box 5,5,5,-2 is empty"),
        ((0, 0, 40, 30), "the whole image is marked: to redraw all of it, leave out the mask"),
        ((1, 2, 3), "box must be four integers, left, top, width and height, got"),
        ((1, 2, 3, 4.0), "box must be four integers, left, top, width and height, got"),
        ((True, 2, 3, 4), "box must be four integers, left, top, width and height, got"),
        ("1,2,3,4", "box must be four integers, left, top, width and height, got"),
        ("1234", "box must be four integers, left, top, width and height, got"),
        (None, "box must be four integers, left, top, width and height, got"),
    ],
)
def test_an_invalid_box_is_refused(box: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        mask_from_box(Image.new("RGB", SIZE), box)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"no image", "the image cannot be read: it is not an image, or Pillow cannot open it"),
        ("missing.png", "missing.png cannot be read: No such file"),
        (5, "^image must be a path, bytes, .*, got 5"),
        (io.StringIO("text"), "the image cannot be read: open it with 'rb'"),
    ],
)
def test_an_image_that_cannot_be_read_is_refused(image: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        mask_from_box(image, BOX)


# ---- mask_from_luminance


@pytest.mark.parametrize(
    ("mode", "ink", "ground"),
    [
        ("1", 1, 0),
        ("L", 255, 0),
        ("L", 128, 127),
        ("LA", (255, 255), (0, 255)),
        ("LA", (255, 255), (255, 0)),
        ("RGB", "white", "black"),
        ("RGBA", (255, 255, 255, 255), (0, 0, 0, 0)),
        ("RGBA", (255, 255, 255, 255), (255, 255, 255, 0)),
        ("P", 255, 0),
        ("I", 65535, 0),
        ("I;16", 65535, 300),
        ("F", 255.0, 0.0),
    ],
)
def test_white_is_redrawn_and_black_is_kept(mode: str, ink: Any, ground: Any) -> None:
    picture = painted(mode, ink=ink, ground=ground)
    if mode == "P":
        picture.putpalette([level for level in range(256) for _ in "rgb"])

    assert marks(mask_from_luminance(picture)) == list(INSIDE)


def test_invert_redraws_black() -> None:
    assert marks(mask_from_luminance(painted(ink=0, ground=255), invert=True)) == list(INSIDE)
    right, wrong = (mask_from_luminance(painted(), invert=invert).getchannel("A") for invert in (False, True))
    assert right.point(lambda alpha: 255 - alpha).tobytes() == wrong.tobytes()


def test_the_noise_of_a_jpeg_does_not_matter(tmp_path: Path) -> None:
    painted().save(tmp_path / "mask.jpg", quality=40)

    mask = mask_from_luminance(tmp_path / "mask.jpg")

    assert marks(mask)


def test_a_picture_comes_in_any_form(tmp_path: Path) -> None:
    data = saved(painted())
    path = tmp_path / "mask.png"
    path.write_bytes(data)

    forms: tuple[Any, ...] = (path, str(path), data, bytearray(data), io.BytesIO(data), painted())

    assert {mask_from_luminance(form).tobytes() for form in forms} == {mask_from_luminance(painted()).tobytes()}


async def test_a_picture_can_be_a_generated_one() -> None:
    client, _ = scripted()

    with pytest.raises(InvalidRequestError, match="must have both black and white"):
        mask_from_luminance(await client.generate("x"))


@pytest.mark.parametrize(
    ("picture", "invert", "message"),
    [
        (painted(ink=0), False, "must have both black and white: all of the image would be kept"),
        (painted(ink=0), True, "must have both black and white: all of the image would be redrawn"),
        (b"no picture", False, "the picture cannot be read: it is not an image, or Pillow cannot open it"),
        (saved(Image.effect_noise(SIZE, 90.0))[:-200], False, "the picture cannot be read"),
        (io.StringIO("text"), False, "the picture cannot be read"),
        ("missing.png", False, "missing.png cannot be read: No such file"),
        (None, False, "^image must be a path, bytes, .*, got None"),
    ],
)
def test_a_picture_that_makes_no_mask_is_refused(picture: Any, invert: bool, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        mask_from_luminance(picture, invert=invert)


async def test_these_masks_pass_the_checks_of_an_edit() -> None:
    client, script = scripted()

    await client.edit("x", image=saved(painted("RGB", ink="red", ground="blue")), mask=mask_from_luminance(painted()))
    await client.edit("x", image=saved(painted("RGB", ink="red", ground="blue")), mask=mask_from_box(painted(), BOX))

    assert [request.content.count(b'name="mask"; filename="mask.png"') for request in script.requests] == [1, 1]


def photograph(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.new("RGB", SIZE).save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(("orientation", "size"), [(1, SIZE), (3, SIZE), (5, SIZE[::-1]), (6, SIZE[::-1]), (99, SIZE)])
async def test_a_box_means_the_picture_as_it_is_seen(orientation: int, size: tuple[int, int]) -> None:
    client, script = scripted()
    photo = photograph(orientation)

    mask = mask_from_box(photo, (0, 0, 1, size[1]))

    assert mask.size == size
    await client.edit("x", image=photo, mask=mask)
    await client.edit("x", image=Image.open(io.BytesIO(photo)), mask=mask)
    assert len(script.requests) == 2


async def test_a_mask_may_have_the_stored_size_but_no_other() -> None:
    client, script = scripted()
    stored = mask_from_box(Image.new("RGB", SIZE), BOX)

    await client.edit("x", image=photograph(6), mask=stored)
    with pytest.raises(InvalidRequestError, match="the mask is 40x30 and the first image is 31x41"):
        await client.edit("x", image=saved(Image.new("RGB", (31, 41))), mask=stored)

    assert len(script.requests) == 1


def test_several_boxes_are_one_mask() -> None:
    mask = mask_from_box(Image.new("RGB", SIZE), (0, 0, 2, 3), (38, 28, 2, 2))

    assert marks(mask) == [0, 0, *SIZE]
    assert mask.getchannel("A").tobytes().count(0) == 2 * 3 + 2 * 2


def test_boxes_that_leave_nothing_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="the whole image is marked"):
        mask_from_box(Image.new("RGB", SIZE), (0, 0, 20, 30), (20, 0, 20, 30))


# ---- Checks of masks from elsewhere


def check(data: bytes, size: tuple[int, int] = SIZE, image: tuple[int, int] = SIZE) -> None:
    check_mask(io.BytesIO(data), ImageFormat("png", *size), io.BytesIO(), ImageFormat("jpeg", *image))


def with_alpha(value: int) -> Image.Image:
    picture = Image.new("RGBA", SIZE, (0, 0, 0, 255))
    picture.putpixel((1, 1), (0, 0, 0, value))
    return picture


def indexed() -> bytes:
    picture = Image.new("P", SIZE, 1)
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.putpixel((3, 3), 0)
    return saved(picture, transparency=0)


def keyed() -> bytes:
    picture = Image.new("RGB", SIZE, "white")
    picture.putpixel((3, 3), (0, 0, 0))
    return saved(picture, transparency=(0, 0, 0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: saved(with_alpha(0)),
        lambda: saved(with_alpha(0).convert("LA")),
        indexed,
        keyed,
        lambda: saved(mask_from_box(Image.new("RGB", SIZE), BOX)),
        lambda: saved(mask_from_luminance(painted())),
    ],
    ids=["RGBA", "LA", "palette", "RGB with tRNS", "box", "luminance"],
)
def test_every_kind_of_alpha_channel_is_accepted(make: Callable[[], bytes]) -> None:
    check(make())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: plain(size=SIZE), "the mask has no alpha channel.*mask_from_luminance"),
        (lambda: saved(Image.new("L", SIZE)), "the mask has no alpha channel"),
        (lambda: saved(Image.new("P", SIZE)), "the mask has no alpha channel"),
        (lambda: saved(with_alpha(255)), "the mask is fully opaque, so nothing would be redrawn"),
        (lambda: saved(Image.new("RGBA", SIZE)), "the mask is fully transparent: to redraw the whole image, leave"),
        (lambda: saved(with_alpha(1)), r"no fully transparent pixel \(lowest alpha: 1\), so nothing would be"),
        (lambda: saved(with_alpha(0))[:-30], "the mask cannot be decoded"),
    ],
    ids=["RGB", "L", "palette", "opaque", "transparent", "nearly transparent", "broken"],
)
def test_a_mask_that_marks_nothing_or_everything_is_refused(make: Callable[[], bytes], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        check(make())


def test_a_mask_that_claims_to_be_huge_is_not_decoded() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 6, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    huge = (60_000, 60_000)

    with pytest.raises(InvalidRequestError, match="the mask is 60000x60000 and the first image is 40x30: they must be"):
        check(bomb, size=huge)
    with pytest.raises(InvalidRequestError, match="the mask cannot be decoded"):
        check(bomb, size=huge, image=huge)
