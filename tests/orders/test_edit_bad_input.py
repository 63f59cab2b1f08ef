"""Images and masks that cannot be right get one clear error each, and nothing is sent."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aimlapi_images import InvalidRequestError, mask_from_box
from aimlapi_images.orders import schema
from aimlapi_images.orders.edit import new_edit
from conftest import scripted

SIZE = (12, 10)
HOLE = (2, 2, 4, 4)


def saved(image: Image.Image, format_: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def plain(format_: str = "PNG", size: tuple[int, int] = SIZE) -> bytes:
    return saved(Image.new("RGB", size, "navy"), format_)


def mask(size: tuple[int, int] = SIZE) -> Image.Image:
    return mask_from_box(Image.new("RGB", size), HOLE)


def opened_as_text() -> Any:
    return open(__file__, encoding="utf-8")  # noqa: PTH123 - as a caller might


def closed() -> Any:
    file = io.BytesIO(plain())
    file.close()
    return file


def alpha_of(value: int) -> Image.Image:
    picture = Image.new("RGBA", SIZE, (0, 0, 0, 255))
    picture.putpixel((1, 1), (0, 0, 0, value))
    return picture


IMAGES: list[tuple[str, Callable[[], Any], str]] = [
    ("none", lambda: None, "image is None, and has to be a path, bytes, a file opened with 'rb'"),
    ("number", lambda: 5, "image is 5, and has to be a path"),
    ("dict", lambda: {"b64_json": "x" * 500}, r"image is \{'b64_json': 'x+\.\.\., and has to be"),
    ("empty list", list, "image is a list of 0, and has to be one of 1 to 16"),
    ("17 images", lambda: [plain()] * 17, "image is a list of 17, and has to be one of 1 to 16"),
    ("list in a list", lambda: [[plain()]], "image is .*, and has to be a path"),
    ("second of two", lambda: [plain(), b"GIF"], "image 2 has 3 bytes that are no PNG, JPEG, .*; it has to be"),
    ("empty bytes", lambda: b"", "image is empty"),
    ("no image", lambda: b"%PDF-1.7 and so on", "image has 18 bytes that are no PNG.*it has to be png or jpeg or webp"),
    ("only a signature", lambda: b"\x89PNG\r\n\x1a\n", "image has 8 bytes that begin as png and have no size"),
    ("gif", lambda: plain("GIF"), "image is gif, by its bytes, and has to be png or jpeg or webp"),
    ("too large", lambda: plain() + bytes(50_000_000), "image has more than 49,999,999 bytes"),
    ("too large to read", lambda: io.BytesIO(plain() + bytes(90_000_000)), "image has more than 49,999,999 bytes"),
    ("text file object", opened_as_text, "image gives str when it is read: open it with 'rb'"),
    ("closed file object", closed, "image cannot be read: I/O operation on closed file"),
    ("image of Pillow without pixels", lambda: Image.new("RGB", (0, 0)), "image .*"),
    ("URL", lambda: "https://cdn.example/cat.png", "image is the URL 'https://.*takes files alone, so fetch it first"),
    ("URL as a path", lambda: Path("https://cdn.example/cat.png"), "image is the URL 'https:.*takes files alone"),
    ("data URL", lambda: "data:image/png;base64," + "A" * 900, r"image is the URL 'data:image.{0,90}: this"),
    ("base64", lambda: "iVBORw0KGgo" * 900, "cannot be read: File name too long"),
    ("no name", lambda: "", "image is '', which names no file"),
    ("null in its name", lambda: "a\0b", "names no file"),
    ("path of bytes", lambda: PathOfBytes(), "image is the path b'cat.png', and has to be one of text"),
    ("missing file", lambda: "missing.png", "missing.png cannot be read: No such file or directory"),
    ("folder", lambda: Path(), "is a folder, and has to be a file"),
]  # fmt: skip

MASKS: list[tuple[str, Callable[[], Any], str]] = [
    ("jpeg", lambda: plain("JPEG"), "mask is jpeg, by its bytes, and has to be png"),
    ("too large", lambda: saved(mask()) + bytes(4_000_000), "mask has more than 3,999,999 bytes"),
    ("other size", lambda: mask((12, 11)), "the mask is 12x11 and the first image 12x10: they have to be of one size"),
    ("no alpha", plain, "the mask has no alpha channel.*mask_from_luminance"),
    ("grey", lambda: saved(Image.new("L", SIZE)), "the mask has no alpha channel"),
    ("palette without alpha", lambda: saved(Image.new("P", SIZE)), "the mask has no alpha channel"),
    ("opaque", lambda: Image.new("RGBA", SIZE, (0, 0, 0, 255)), "the mask is fully opaque, so nothing would be drawn"),
    ("transparent", lambda: Image.new("RGBA", SIZE), "the mask is fully transparent: to draw the whole image anew"),
    ("half transparent", lambda: alpha_of(1), r"no fully transparent pixel \(its lowest alpha is 1\)"),
    ("broken", lambda: saved(mask())[:-30], "the mask cannot be decoded"),
    ("a list", lambda: [mask()], "mask is .*, and has to be a path"),
    ("missing file", lambda: "missing.png", "missing.png cannot be read"),
]


class PathOfBytes(os.PathLike[bytes]):
    def __fspath__(self) -> bytes:
        return b"cat.png"


@pytest.mark.parametrize(("make", "message"), [row[1:] for row in IMAGES], ids=[row[0] for row in IMAGES])
async def test_an_image_that_cannot_be_right_is_not_sent(make: Callable[[], Any], message: str) -> None:
    client, script = scripted()
    image = make()

    with pytest.raises(InvalidRequestError, match=message) as caught:
        await client.edit("x", image=image)

    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)
    assert script.requests == []
    if hasattr(image, "close"):
        image.close()


@pytest.mark.parametrize(("make", "message"), [row[1:] for row in MASKS], ids=[row[0] for row in MASKS])
async def test_a_mask_that_cannot_be_right_is_not_sent(make: Callable[[], Any], message: str) -> None:
    client, script = scripted()

    with pytest.raises(InvalidRequestError, match=message):
        await client.edit("x", image=plain(), mask=make())

    assert script.requests == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": "x" * 32_001}, "prompt has 32,001 characters"),
        ({"prompt": None}, "prompt is None, and has to be a string"),
        ({"prompt": "\ud800"}, "prompt cannot be sent as UTF-8"),
        ({"model": None}, "model is None"),
        ({"size": "1x1"}, "size is '1x1', and has to be one of"),
        ({"output_compression": 101}, "output_compression is 101"),
        ({"background": "transparent", "output_format": "jpeg"}, 'needs output_format "png" or "webp"'),
        ({"options": {"prompt": "y"}}, "prompt in options"),
        ({"options": {"image": "y"}}, "image in options"),
        ({"options": {"mask": "y"}}, "mask in options"),
        ({"options": {"image[]": "y"}}, r"image\[\] in options"),
        ({"options": {"output_fromat": "png"}}, "no field of this model: is output_format meant"),
        ({"options": {"n": 11}}, "n is 11, and may be at most 10"),
        ({"options": {"tags": ["a"]}}, r"tags is \['a'\], and a form's field has to be text, a number, true or false"),
        ({"options": {"share": float("nan")}}, "share is nan"),
        ({"options": {"a\ud800": "x"}}, "cannot be sent as UTF-8"),
        ({"order": "my order"}, "order 'my order' cannot name a request"),
        ({"to": "missing/cat.png"}, "the folder does not exist"),
        ({"deadline": 0}, "deadline is 0"),
    ],
)
async def test_a_request_that_cannot_be_right_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    client, script = scripted()

    with pytest.raises(InvalidRequestError, match=message):
        await client.edit(**{"prompt": "x", "image": plain(), **arguments})

    assert script.requests == []


async def test_a_wrong_request_does_not_use_up_a_file_object() -> None:
    client, _ = scripted()
    file = io.BytesIO(plain())

    with pytest.raises(InvalidRequestError, match="size is"):
        await client.edit("x", image=file, size="1x1")  # type: ignore[arg-type]

    assert file.tell() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes in folders")
async def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    client, script = scripted()

    with pytest.raises(InvalidRequestError, match="is a device or a pipe"):
        await client.edit("x", image=tmp_path / "pipe.png")

    assert script.requests == []


async def test_a_file_on_the_disk_that_is_too_large_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(plain())
    os.truncate(path, 50_000_000)
    client, script = scripted()

    with pytest.raises(InvalidRequestError, match=r"image \(large.png\) has more than 49,999,999 bytes"):
        await client.edit("x", image=path)
    os.truncate(path, 49_999_999)
    order = await new_edit("x", path, model="openai/gpt-image-1-5", parameters={})

    assert order.images[0].size == 49_999_999
    assert script.requests == []


def indexed_with_transparency() -> Image.Image:
    picture = Image.new("P", SIZE, 1)
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.putpixel((3, 3), 0)
    picture.info["transparency"] = 0
    return picture


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB with tRNS"])
async def test_every_kind_of_alpha_channel_counts(mode: str) -> None:
    match mode:
        case "RGBA":
            data = saved(mask())
        case "LA":
            data = saved(mask().convert("LA"))
        case "P":
            data = saved(indexed_with_transparency(), transparency=0)
        case _:
            picture = Image.new("RGB", SIZE, "white")
            picture.putpixel((3, 3), (0, 0, 0))
            data = saved(picture, transparency=(0, 0, 0))
    client, script = scripted()

    await client.edit("x", image=plain(), mask=data)

    assert b'name="mask"; filename="mask.png"\r\nContent-Type: image/png\r\n\r\n' + data in script.requests[0].content


async def test_a_mask_that_says_it_is_huge_is_refused_by_its_size() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 6, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    client, script = scripted()

    with pytest.raises(InvalidRequestError, match="the mask is 60000x60000 and the first image 12x10"):
        await client.edit("x", image=plain(), mask=bomb)
    with pytest.raises(InvalidRequestError, match="the mask cannot be decoded"):
        await client.edit("x", image=bomb, mask=bomb)

    assert script.requests == []


async def test_a_mask_needs_pillow_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(mask())
    monkeypatch.setitem(sys.modules, "PIL", None)
    client, script = scripted()

    await client.edit("x", image=plain_without_pillow)
    with pytest.raises(InvalidRequestError, match=r'masks need Pillow: pip install "aimlapi-images\[images\]"'):
        await client.edit("x", image=plain_without_pillow, mask=data)

    assert len(script.requests) == 1


plain_without_pillow = plain()


def test_the_limits_are_the_schemas() -> None:
    assert schema.edit_files("image[]") == schema.FileRules(16, 49_999_999, ("png", "jpeg", "webp"))
    assert schema.edit_files("mask") == schema.FileRules(1, 3_999_999, ("png",))
    assert schema.edit_models() == ("openai/gpt-image-1-5",)
