"""`GeneratedImage`: saving and display."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from aimlapi_images import GeneratedImage, Usage
from conftest import PIXEL


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


async def test_save_writes_the_bytes_as_received(tmp_path: Path) -> None:
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

    with pytest.raises(FileExistsError, match="the file already exists"):
        await generated().save(tmp_path / "trex")
    assert (tmp_path / "trex.png").read_text() == "precious"

    await generated().save(tmp_path / "trex", overwrite=True)
    assert (tmp_path / "trex.png").read_bytes() == PIXEL
    assert len(list(tmp_path.iterdir())) == 1


async def test_a_failed_overwrite_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "trex.png").write_text("precious")
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        await generated().save(tmp_path / "trex", overwrite=True)

    assert (tmp_path / "trex.png").read_text() == "precious"


def test_repr_is_short_and_has_no_bytes() -> None:
    text = repr(generated(PIXEL * 1000))

    assert len(text) < 500
    assert "file_size=69000" in text
    assert "ppp..." in text


def test_a_notebook_shows_the_image() -> None:
    shown = generated()._repr_mimebundle_()
    webp = generated(b"RIFF....WEBPVP8 ", "webp")._repr_mimebundle_()

    assert shown["image/png"].startswith("iVBORw0KGgo")
    assert webp["text/html"].startswith('<img src="data:image/webp;base64,UklGR')


def test_without_pillow_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)

    with pytest.raises(ModuleNotFoundError, match=r"pip install \"\.\[images\]\""):
        generated().to_pil()
