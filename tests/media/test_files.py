"""Formats from bytes, names that tell the truth, and files that are whole or absent."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path, PurePath
from typing import Any

import pytest
from PIL import Image

from aimlapi_images import GeneratedImage, Usage
from aimlapi_images.media.files import free_name, write_whole
from aimlapi_images.media.formats import read_format, with_extension
from conftest import PIXEL


def picture(kind: str, size: tuple[int, int] = (7, 5), **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (200, 30, 90)).save(file, kind, **options)
    return file.getvalue()


def generated(data: bytes = PIXEL, format: str = "png") -> GeneratedImage:  # noqa: A002
    return GeneratedImage(
        data=data,
        file_size=len(data),
        format=format,
        media_type=f"image/{format}",
        width=1,
        height=1,
        prompt="p" * 100,
        parameters={},
        usage=Usage(),
        order="o",
        attempts=1,
        seconds=0.1,
    )


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
def test_format_and_size_come_from_the_bytes(kind: str, options: dict[str, Any], size: tuple[int, int]) -> None:
    found = read_format(picture(kind, size, **options))

    assert (found.name, found.width, found.height) == (kind.lower(), *size)
    assert found.media_type == f"image/{kind.lower()}"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_the_beginning_of_an_image_tells_the_truth_or_nothing(kind: str) -> None:
    data = picture(kind, (300, 200), **({"icc_profile": bytes(1000)} if kind == "JPEG" else {}))

    told = 0
    for length in range(len(data)):
        try:
            found = read_format(data[:length])
        except ValueError:
            continue
        told += 1
        assert (found.name, found.width, found.height) == (kind.lower(), 300, 200)
    assert 0 < told < len(data)


def test_a_transparent_webp_has_its_size_elsewhere() -> None:
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
def test_the_extension_tells_the_truth(path: str, format_name: str, expected: str) -> None:
    assert with_extension(PurePath(path), format_name) == PurePath(expected)


async def test_save_writes_the_bytes_as_they_came(tmp_path: Path) -> None:
    image = generated()

    path = await image.save(tmp_path / "trex")

    assert path == tmp_path / "trex.png"
    assert path.read_bytes() == PIXEL
    assert list(tmp_path.iterdir()) == [path]


async def test_save_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = await generated().save(tmp_path / "trex")
    finally:
        os.umask(before)

    assert path.stat().st_mode & 0o777 == 0o640


async def test_save_does_not_overwrite_unless_asked(tmp_path: Path) -> None:
    (tmp_path / "trex.png").write_text("precious")

    with pytest.raises(FileExistsError, match="a file is there already"):
        await generated().save(tmp_path / "trex")
    assert (tmp_path / "trex.png").read_text() == "precious"

    await generated().save(tmp_path / "trex", overwrite=True)
    assert (tmp_path / "trex.png").read_bytes() == PIXEL
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_appears_in_between_is_kept(tmp_path: Path) -> None:
    (tmp_path / "trex.png").write_text("precious")

    with pytest.raises(FileExistsError, match="a file is there already"):
        write_whole(tmp_path / "trex.png", PIXEL)

    assert (tmp_path / "trex.png").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_file_systems_without_hard_links_do_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", no_links)

    write_whole(tmp_path / "trex.png", PIXEL)
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "trex.png", b"other")

    assert (tmp_path / "trex.png").read_bytes() == PIXEL
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "trex.png", PIXEL, overwrite=overwrite)

    assert list(tmp_path.iterdir()) == []


async def test_an_overwrite_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "trex.png").write_text("precious")
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        await generated().save(tmp_path / "trex", overwrite=True)

    assert (tmp_path / "trex.png").read_text() == "precious"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("A T-Rex, relaxing!", "a-t-rex-relaxing"),
        ("Ein Füchslein", "ein-füchslein"),
        ("../../etc/passwd", "etc-passwd"),
        ("…", "image"),
        ("con", "con-image"),
        ("x" * 200, "x" * 60),
        ("taken", "taken-3"),
    ],
)
def test_a_free_name_is_safe_and_new(tmp_path: Path, words: str, expected: str) -> None:
    (tmp_path / "taken.png").touch()
    (tmp_path / "Taken-2.webp").touch()

    assert free_name(tmp_path, words) == tmp_path / expected


def test_repr_is_short_and_has_no_bytes() -> None:
    text = repr(generated(PIXEL * 1000))

    assert len(text) < 500
    assert "file_size=69000" in text
    assert "ppp..." in text


def test_a_notebook_shows_the_image() -> None:
    shown = generated()._repr_mimebundle_()
    webp = generated(picture("WEBP"), "webp")._repr_mimebundle_()

    assert shown["image/png"].startswith("iVBORw0KGgo")
    assert webp["text/html"].startswith('<img src="data:image/webp;base64,UklGR')


def test_pillow_is_asked_for_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)

    with pytest.raises(ModuleNotFoundError, match=r"aimlapi-images\[images\]"):
        generated().to_pil()
