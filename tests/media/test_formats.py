"""Formats, widths and heights read from image bytes, and file extensions."""

from __future__ import annotations

import io
from pathlib import PurePath
from typing import Any

import pytest
from PIL import Image

from aimlapi_images.media.formats import ImageFormat, read_file_format, with_extension


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
