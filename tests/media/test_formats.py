"""Formats, widths and heights read from image bytes, where an image ends, and file extensions."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import pytest
from PIL import Image

from aimlapi_images.media.formats import (
    ImageFormat,
    IncompleteImageError,
    Payload,
    read_file_format,
    read_whole_image,
    with_extension,
)
from conftest import PIXEL


def read_format(data: bytes) -> ImageFormat:
    return read_file_format(io.BytesIO(data), len(data))


def picture(kind: str, size: tuple[int, int] = (7, 5), **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (200, 30, 90)).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
    ],
)
@pytest.mark.parametrize("size", [(7, 5), (1536, 1024)])
def test_format_width_and_height_are_read_from_the_bytes(
    kind: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    found = read_format(picture(kind, size, **options))

    assert (found.name, found.width, found.height) == (kind.lower(), *size)
    assert found.media_type == f"image/{kind.lower()}"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_truncated_image_has_the_right_size_or_none(kind: str) -> None:
    data = picture(kind, (300, 200), **({"icc_profile": bytes(1000)} if kind == "JPEG" else {}))

    readable = 0
    for length in range(len(data)):
        try:
            found = read_format(data[:length])
        except ValueError:
            continue
        readable += 1
        assert (found.name, found.width, found.height) == (kind.lower(), 300, 200)
    assert 0 < readable < len(data)


def test_an_extended_webp_has_its_size_in_another_chunk() -> None:
    file = io.BytesIO()
    Image.new("RGBA", (30, 20), (0, 0, 0, 0)).save(file, "WEBP", exif=b"Exif\0\0")

    assert (read_format(file.getvalue()).width, read_format(file.getvalue()).height) == (30, 20)


@pytest.mark.parametrize("data", [b"", b"<svg", b"BM123", b"\x89PNG", b"\xff\xd8\xff", picture("PNG")[:12]])
def test_other_bytes_have_no_format(data: bytes) -> None:
    with pytest.raises(ValueError, match="bytes that"):
        read_format(data)


@pytest.mark.parametrize(
    ("path", "format_name", "expected"),
    [
        ("trex", "png", "trex.png"),
        ("trex.png", "png", "trex.png"),
        ("trex.PNG", "png", "trex.PNG"),
        ("trex.png", "jpeg", "trex.jpg"),
        ("trex.jpeg", "jpeg", "trex.jpeg"),
        ("trex.webp", "png", "trex.png"),
        ("v1.2", "png", "v1.2.png"),
        ("notes.txt", "webp", "notes.txt.webp"),
        (".hidden", "png", ".hidden.png"),
        ("a.b/trex", "gif", "a.b/trex.gif"),
        ("trex", "avif", "trex.avif"),
    ],
)
def test_the_extension_follows_the_format(path: str, format_name: str, expected: str) -> None:
    assert with_extension(PurePath(path), format_name) == PurePath(expected)


def noise(size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.effect_noise(size, 90).convert("RGB")


def saved(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    noise().save(file, kind, **options)
    return file.getvalue()


def exif_with_thumbnail() -> bytes:
    """EXIF data that contain a whole JPEG."""
    return b"Exif\0\0MM\0\x2a\0\0\0\x08\0\0\0\0\0\0" + saved("JPEG")


def frames(count: int) -> dict[str, Any]:
    return {"save_all": True, "append_images": [noise() for _ in range(count)]}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(*chunks: bytes) -> bytes:
    """A PNG with these chunks before its last one."""
    return PIXEL[:-12] + b"".join(chunks) + PIXEL[-12:]


FILES: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: saved("PNG"),
    "PNG with 150 chunks": lambda: with_chunks(*[chunk(b"teXt", b"x")] * 150),
    "PNG that holds a PNG": lambda: with_chunks(chunk(b"caBX", PIXEL)),
    "JPEG": lambda: saved("JPEG"),
    "progressive JPEG": lambda: saved("JPEG", progressive=True),
    "JPEG with restart markers": lambda: saved("JPEG", restart_marker_rows=1),
    "JPEG with a thumbnail": lambda: saved("JPEG", exif=exif_with_thumbnail()),
    "JPEG with filler": lambda: saved("JPEG").replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1),
    "WebP": lambda: saved("WEBP"),
    "lossless WebP": lambda: saved("WEBP", lossless=True),
    "WebP with EXIF": lambda: saved("WEBP", exif=exif_with_thumbnail()),
    "animated WebP": lambda: saved("WEBP", **frames(2)),
    "GIF": lambda: saved("GIF"),
    "animated GIF": lambda: saved("GIF", **frames(2), comment=b"a;b"),
    "GIF without pixels": lambda: b"GIF89a\x02\x00\x01\x00\x00\x00\x00;",
}


@pytest.mark.parametrize("make", FILES.values(), ids=FILES)
def test_only_a_whole_file_is_an_image(make: Callable[[], bytes]) -> None:
    data = make()

    for length in range(len(data)):
        problem = Payload.of(data[:length]).error
        assert type(problem) is IncompleteImageError
        assert str(problem).startswith(f"{length:,} bytes, cut off before the end")
    for junk in (b"", b"\0", b"<html>", data):
        found = read_whole_image(data + junk)
        assert isinstance(found, ImageFormat)


@pytest.mark.parametrize(
    "data", [b"\xff\xd8\xff\xe0\0\0" * 10, b"\xff\xd8\xff\xe0\0\x02no", b"\xff\xd8" + b"\xff" * 99]
)
def test_a_jpeg_without_pixels_has_no_end(data: bytes) -> None:
    with pytest.raises(IncompleteImageError, match="cut off before the end of the"):
        read_whole_image(data)


@pytest.mark.parametrize(
    "data",
    [
        PIXEL[:8] + chunk(b"teXt", b"") * 300_001 + PIXEL[8:],
        b"GIF89a\x02\x00\x01\x00\x00\x00\x00!\xfe" + b"\x01x" * 300_001 + b"\0;",
        b"RIFF\x04\0\0\0WEBP",
        b"GIF89a\x02\x00\x01\x00\x00\x00\x00?;",
    ],
    ids=["chunks without end", "blocks without end", "nothing inside", "an unknown block"],
)
def test_a_file_that_makes_no_sense_has_no_end(data: bytes) -> None:
    with pytest.raises(IncompleteImageError, match="cut off before the end of the"):
        read_whole_image(data)
