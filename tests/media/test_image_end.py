"""A file is complete with its last byte and at no byte before."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aimlapi_images.media.formats import ImageFormat, IncompleteImageError, read_whole_image
from aimlapi_images.media.image_end import has_end
from conftest import PIXEL


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
        with pytest.raises(IncompleteImageError, match=f"^{length:,} bytes, cut off before the end"):
            read_whole_image(io.BytesIO(data[:length]), length)
    for junk in (b"", b"\0", b"<html>", data):
        found = read_whole_image(io.BytesIO(data + junk), len(data + junk))
        assert isinstance(found, ImageFormat)


@pytest.mark.parametrize("make", FILES.values(), ids=FILES)
def test_a_file_on_disk_is_read_the_same_way(make: Callable[[], bytes], tmp_path: Path) -> None:
    data = make()
    (tmp_path / "image").write_bytes(data)

    with (tmp_path / "image").open("rb", buffering=0) as file:
        assert read_whole_image(file, len(data)).name in ("png", "jpeg", "webp", "gif")


def test_the_end_marker_of_a_jpeg_is_found_across_two_reads() -> None:
    head, end = saved("JPEG")[:-2], b"\xff\xd9"
    scan = head.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(head[scan + 2 : scan + 4], "big")
    data = head + bytes(start + 2**16 - 1 - len(head)) + end

    assert has_end(io.BytesIO(data), len(data), "jpeg")
    assert not has_end(io.BytesIO(data[:-1]), len(data) - 1, "jpeg")


@pytest.mark.parametrize(
    "data", [b"\xff\xd8\xff\xe0\0\0" * 10, b"\xff\xd8\xff\xe0\0\x02no", b"\xff\xd8" + b"\xff" * 99]
)
def test_a_jpeg_without_pixels_has_no_end(data: bytes) -> None:
    assert not has_end(io.BytesIO(data), len(data), "jpeg")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("png", PIXEL[:8] + chunk(b"teXt", b"") * 300_001 + PIXEL[8:]),
        ("gif", b"GIF89a\x02\x00\x01\x00\x00\x00\x00!\xfe" + b"\x01x" * 300_001 + b"\0;"),
        ("webp", b"RIFF\x04\0\0\0WEBP"),
        ("gif", b"GIF89a\x02\x00\x01\x00\x00\x00\x00?;"),
    ],
    ids=["chunks without end", "blocks without end", "nothing inside", "an unknown block"],
)
def test_a_file_that_makes_no_sense_has_no_end(name: str, data: bytes) -> None:
    assert not has_end(io.BytesIO(data), len(data), name)
