"""Images in every form that callers pass, and what is refused."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from PIL import Image

from aimlapi_images import GeneratedImage, InvalidRequestError
from aimlapi_images.orders import schema
from aimlapi_images.orders.image_input import ImageInput, read_upload
from aimlapi_images.orders.uploads import Upload
from aimlapi_images.threads import Threads
from conftest import scripted
from pictures import plain, saved

RULES = schema.FileRules(at_most=16, max_bytes=999_999, formats=("png", "jpeg", "webp"))


async def read(value: object, threads: Threads) -> Upload:
    return await read_upload(value, "image", RULES, threads)


# ---- Forms that are accepted


@pytest.mark.parametrize(
    ("given", "format_", "name"),
    [
        ("cat.jpg", "PNG", "cat.png"),
        ("cat", "WEBP", "cat.webp"),
        ("folder/cat.JPEG", "JPEG", "cat.JPEG"),
        ("v1.2", "JPEG", "v1.2.jpg"),
        ("\udcff.png", "PNG", "?.png"),
        (None, "PNG", "image.png"),
        ("", "PNG", "image.png"),
        (5, "JPEG", "image.jpg"),
    ],
)
async def test_name_and_format_follow_the_bytes(threads: Threads, given: object, format_: str, name: str) -> None:
    class Named(io.BytesIO):
        pass

    file = Named(plain(format_))
    file.name = given

    upload = await read(file, threads)

    assert (upload.name, upload.format.name) == (name, format_.lower())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('a"b.png', b'filename="a%22b.png"'),
        ("a\r\nb.png", b'filename="a%0D%0Ab.png"'),
        ("\udcff.png", b'filename="?.png"'),
        ("Löwe.png", 'filename="Löwe.png"'.encode()),
    ],
)
async def test_any_file_name_can_be_sent(given: str, expected: bytes) -> None:
    class Named(io.BytesIO):
        name = given

    client, script = scripted()

    await client.edit("x", image=Named(plain()))

    assert b'name="image"; ' + expected + b"\r\nContent-Type: image/png\r\n\r\n" in script.requests[0].content


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
async def test_a_file_on_disk_may_have_a_name_that_is_not_utf_8(tmp_path: Path, threads: Threads) -> None:
    path = tmp_path / os.fsdecode(b"\xff.jpg")
    path.write_bytes(plain())

    assert (await read(path, threads)).name == "?.png"


async def test_a_file_object_is_read_once_from_its_position(threads: Threads) -> None:
    file = io.BytesIO(b"skipped" + plain())
    file.seek(7)

    assert (await read(file, threads)).content == plain()
    assert file.read() == b""


async def test_an_asynchronous_file_is_read(threads: Threads) -> None:
    class Asynchronous:
        def __init__(self) -> None:
            self._file = io.BytesIO(plain())

        async def read(self, size: int = -1) -> bytes:
            return self._file.read(size)

    assert (await read(Asynchronous(), threads)).content == plain()


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "F", "I", "I;16", "RGBa", "La", "PA"]
)
async def test_a_pillow_image_of_any_mode_becomes_a_png(threads: Threads, mode: str) -> None:
    upload = await read(Image.new(mode, (5, 4)), threads)

    assert isinstance(upload.content, bytes)
    assert upload.format.name == "png"
    with Image.open(io.BytesIO(upload.content)) as sent:
        sent.load()
        assert sent.size == (5, 4)
        assert sent.has_transparency_data == (mode in ("LA", "RGBA", "RGBa", "La", "PA"))


async def test_the_size_behind_a_large_jpeg_header_is_found(tmp_path: Path, threads: Threads) -> None:
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (9, 7)).save(path, icc_profile=bytes(300_000), exif=Image.Exif())

    upload = await read(path, threads)

    assert (upload.format.width, upload.format.height) == (9, 7)


async def test_bytes_that_change_later_are_sent_as_they_were(threads: Threads) -> None:
    data = bytearray(plain())

    upload = await read(data, threads)
    data[:] = bytes(len(data))

    assert upload.content == plain()


async def test_a_generated_image_is_read_from_memory_or_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: Threads
) -> None:
    client, _ = scripted()
    monkeypatch.chdir(tmp_path)
    held, written = await client.generate("x"), await client.generate("x", to="fox")

    uploads = [await read(held, threads), await read(written, threads)]
    monkeypatch.chdir("/")

    assert [upload.name for upload in uploads] == ["image.png", "fox.png"]
    assert {upload.part()[1].read(10_000) for upload in uploads} == {held.data}


# ---- Forms that are refused


class PathOfBytes(os.PathLike[bytes]):
    def __fspath__(self) -> bytes:
        return b"cat.png"


class Truncated(io.BytesIO):
    """A file that fails in a way of its own, as compressed ones do."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise EOFError("Compressed file ended too early")


def opened_as_text() -> Any:
    return open(__file__, encoding="utf-8")  # noqa: PTH123 - as a caller might


def closed() -> Any:
    file = io.BytesIO(plain())
    file.close()
    return file


def broken_pillow() -> Any:
    return Image.open(io.BytesIO(saved(Image.effect_noise((99, 99), 90.0))[:-900]))


def lost(path: Path = Path("lost.png")) -> Any:
    return GeneratedImage(  # the file that it was written to has been deleted
        file_size=1, format="png", media_type="image/png", width=1, height=1, prompt="x", parameters={},
        usage=None, order="o", attempts=1, seconds=0.0, path=path,  # type: ignore[arg-type]
    )  # fmt: skip


REFUSED: list[tuple[str, Callable[[], Any], str]] = [
    ("none", lambda: None, "image must be a path, bytes, a file opened with 'rb', a Pillow image or a .*, got None"),
    ("number", lambda: 5, "image must be a path, .*, got 5"),
    ("dict", lambda: {"b64_json": "x" * 500}, r"image must be a path, .*, got \{'b64_json': 'x+\.\.\."),
    ("empty bytes", lambda: b"", "image is empty"),
    ("no image", lambda: b"%PDF-1.7 and so on", "image must be png or jpeg or webp: .*18 bytes"),
    ("only a signature", lambda: b"\x89PNG\r\n\x1a\n", "image must be png or jpeg or webp: .*8 bytes"),
    ("gif", lambda: plain("GIF"), "image must be png or jpeg or webp, but its bytes are gif"),
    ("too large", lambda: plain() + bytes(1_000_000), "image has more than the allowed 999,999 bytes"),
    ("too large to read", lambda: io.BytesIO(plain() + bytes(1_000_000)), "image has more than the .* 999,999"),
    ("text file object", opened_as_text, "image must be opened with 'rb': reading it gives str"),
    ("closed file object", closed, "image cannot be read: I/O operation on closed file"),
    ("broken file object", Truncated, "image cannot be read: Compressed file ended too early"),
    ("empty Pillow image", lambda: Image.new("RGB", (0, 0)), "image .*"),
    ("broken Pillow image", broken_pillow, "image cannot be encoded as a PNG"),
    ("lost generated image", lost, "lost.png cannot be read: No such file"),
    ("URL", lambda: "https://cdn.example/cat.png", "image must be a file, got the URL 'https://.*: download it first"),
    ("URL as a path", lambda: Path("https://cdn.example/cat.png"), "image must be a file, got the URL 'https:.*"),
    ("data URL", lambda: "data:image/png;base64," + "A" * 900, r"got the URL 'data:image.{0,90}: download it first"),
    ("base64", lambda: "iVBORw0KGgo" * 900, "cannot be read: File name too long"),
    ("no name", lambda: "", "image is not a valid path: ''"),
    ("null in its name", lambda: "a\0b", r"image is not a valid path: 'a\\x00b'"),
    ("path of bytes", PathOfBytes, "image must be a path, got <"),
    ("missing file", lambda: "missing.png", "missing.png cannot be read: No such file or directory"),
    ("folder", lambda: Path(), "is a folder, not a file"),
]


@pytest.mark.parametrize(("make", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_an_image_that_is_not_valid_is_refused(threads: Threads, make: Callable[[], Any], message: str) -> None:
    image = make()

    with pytest.raises(InvalidRequestError, match=message) as caught:
        await read(image, threads)

    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)
    if hasattr(image, "close"):
        image.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
async def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path, threads: Threads) -> None:
    os.mkfifo(tmp_path / "pipe.png")

    with pytest.raises(InvalidRequestError, match="is a device or a pipe, not a file"):
        await read(tmp_path / "pipe.png", threads)


async def test_a_file_on_disk_may_be_as_large_as_allowed_and_no_larger(tmp_path: Path, threads: Threads) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(plain())
    os.truncate(path, 1_000_000)

    with pytest.raises(InvalidRequestError, match=r"image \(large.png\) has more than the allowed 999,999 bytes"):
        await read(path, threads)
    os.truncate(path, 999_999)

    assert len((await read(path, threads)).content) == 999_999


async def test_a_file_object_is_not_read_much_further_than_allowed(threads: Threads) -> None:
    file = io.BytesIO(plain() + bytes(3_000_000))

    with pytest.raises(InvalidRequestError, match="image has more than the allowed 999,999 bytes"):
        await read(file, threads)

    assert file.tell() == 1_000_000


def test_its_type_needs_no_pillow() -> None:
    """A type checker that does not find Pillow takes its classes for any type, and would accept `image=3`."""
    names = {each.__module__ for each in get_args(ImageInput)}

    assert not any(name.startswith("PIL") for name in names)
    assert "aimlapi_images.orders.image_input" in names
