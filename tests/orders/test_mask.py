"""Masks made easily: what they mark, and what they refuse."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from aimlapi_images import InvalidRequestError, mask_from_box, mask_from_luminance
from conftest import scripted

SIZE = (40, 30)
BOX = (5, 10, 20, 8)
INSIDE = (5, 10, 25, 18)


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def painted(mode: str = "L", *, ink: Any = 255, ground: Any = 0) -> Image.Image:
    picture = Image.new(mode, SIZE, ground)
    ImageDraw.Draw(picture).rectangle((5, 10, 24, 17), fill=ink)
    return picture


def marks(mask: Image.Image) -> list[int]:
    """Where a mask is fully transparent: the left, top, right and bottom of it, if it is opaque elsewhere."""
    alpha = mask.getchannel("A")
    assert sorted(set(alpha.tobytes())) == [0, 255]
    return list(alpha.point(lambda value: 255 - value).getbbox() or ())


def test_a_box_is_transparent_and_the_rest_opaque() -> None:
    mask = mask_from_box(Image.new("RGB", SIZE), BOX)

    assert (mask.mode, mask.size) == ("RGBA", SIZE)
    assert marks(mask) == list(INSIDE)
    assert mask.getchannel("A").tobytes().count(0) == 20 * 8


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "memoryview", "file", "pillow"])
def test_the_size_comes_from_any_form_of_an_image(tmp_path: Path, kind: str) -> None:
    data = png(Image.new("RGB", SIZE))
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

    with pytest.raises(InvalidRequestError, match="the box is the whole image"):
        mask_from_box(image, (0, 0, 1, 1))


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((0, 0, 41, 30), "the box 0,0,41,30 is not inside the image, of 40x30"),
        ((35, 0, 6, 5), "is not inside the image"),
        ((0, 28, 5, 3), "is not inside the image"),
        ((-1, 0, 5, 5), "is not inside the image"),
        ((0, -1, 5, 5), "is not inside the image"),
        ((0, 0, 0, 0), "the box 0,0,0,0 is empty: width and height are 1 or more"),
        ((5, 5, 0, 5), "the box 5,5,0,5 is empty"),
        ((5, 5, 5, -2), "the box 5,5,5,-2 is empty"),
        ((0, 0, 40, 30), "the box is the whole image: to draw all of it anew, leave the mask out"),
        ((1, 2, 3), "has to be four whole numbers"),
        ((1, 2, 3, 4.0), "has to be four whole numbers"),
        ((True, 2, 3, 4), "has to be four whole numbers"),
        ("1,2,3,4", "has to be four whole numbers"),
        ("1234", "has to be four whole numbers"),
        (None, "has to be four whole numbers"),
    ],
)
def test_a_box_that_cannot_be_right_is_refused(box: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        mask_from_box(Image.new("RGB", SIZE), box)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"no image", "the image has 8 bytes that are no PNG"),
        ("missing.png", "missing.png cannot be read: No such file"),
        (5, "image is 5, and has to be a path"),
        (io.StringIO("text"), "the image cannot be read: .*; open it with 'rb'"),
    ],
)
def test_an_image_that_cannot_be_read_is_refused(image: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        mask_from_box(image, BOX)


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
def test_white_is_drawn_anew_and_black_is_kept(mode: str, ink: Any, ground: Any) -> None:
    picture = painted(mode, ink=ink, ground=ground)
    if mode == "P":
        picture.putpalette([level for level in range(256) for _ in "rgb"])

    assert marks(mask_from_luminance(picture)) == list(INSIDE)


def test_the_opposite_can_be_asked_for() -> None:
    assert marks(mask_from_luminance(painted(ink=0, ground=255), invert=True)) == list(INSIDE)
    right, wrong = (mask_from_luminance(painted(), invert=invert).getchannel("A") for invert in (False, True))
    assert right.point(lambda alpha: 255 - alpha).tobytes() == wrong.tobytes()


def test_the_noise_of_a_jpeg_does_not_matter(tmp_path: Path) -> None:
    painted().save(tmp_path / "mask.jpg", quality=40)

    mask = mask_from_luminance(tmp_path / "mask.jpg")

    assert marks(mask)


def test_a_picture_comes_in_any_form(tmp_path: Path) -> None:
    data = png(painted())
    path = tmp_path / "mask.png"
    path.write_bytes(data)

    forms: tuple[Any, ...] = (path, str(path), data, bytearray(data), io.BytesIO(data), painted())

    assert {mask_from_luminance(form).tobytes() for form in forms} == {mask_from_luminance(painted()).tobytes()}


async def test_a_picture_can_be_a_generated_one() -> None:
    client, _ = scripted()

    with pytest.raises(InvalidRequestError, match="has only one of black and white"):
        mask_from_luminance(await client.generate("x"))


@pytest.mark.parametrize(
    ("picture", "invert", "message"),
    [
        (painted(ink=0), False, "only one of black and white, by which all would be kept"),
        (painted(ink=0), True, "only one of black and white, by which all would be drawn anew"),
        (b"no picture", False, "the picture cannot be read"),
        (png(Image.effect_noise(SIZE, 90.0))[:-200], False, "the picture cannot be read"),
        (io.StringIO("text"), False, "the picture cannot be read"),
        ("missing.png", False, "the picture cannot be read: .*No such file"),
        (None, False, "image is None, and has to be a path"),
    ],
)
def test_a_picture_that_gives_no_mask_is_refused(picture: Any, invert: bool, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        mask_from_luminance(picture, invert=invert)


async def test_masks_made_here_pass_the_checks() -> None:
    client, script = scripted()

    await client.edit("x", image=png(painted("RGB", ink="red", ground="blue")), mask=mask_from_luminance(painted()))
    await client.edit("x", image=png(painted("RGB", ink="red", ground="blue")), mask=mask_from_box(painted(), BOX))

    assert [request.content.count(b'name="mask"; filename="mask.png"') for request in script.requests] == [1, 1]
