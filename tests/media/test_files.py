"""File names, and writes that are complete or leave nothing."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aimlapi_images.media.files import free_number, whole_file, write_whole
from conftest import KEY, PIXEL, PIXEL_ANSWER
from misbehaving import MisbehavingServer, reply


@pytest.fixture
def no_hard_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system such as FAT."""

    def hardlink_to(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", hardlink_to)


def test_write_whole_does_not_overwrite_unless_asked(tmp_path: Path) -> None:
    (tmp_path / "trex.png").write_text("precious")

    with pytest.raises(FileExistsError, match="the file already exists"):
        write_whole(tmp_path / "trex.png", PIXEL)

    assert (tmp_path / "trex.png").read_text() == "precious"
    write_whole(tmp_path / "trex.png", PIXEL, overwrite=True)
    assert (tmp_path / "trex.png").read_bytes() == PIXEL
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.usefixtures("no_hard_links")
def test_without_hard_links_nothing_is_overwritten_either(tmp_path: Path) -> None:
    write_whole(tmp_path / "trex.png", PIXEL)
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "trex.png", b"other")

    assert (tmp_path / "trex.png").read_bytes() == PIXEL
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.usefixtures("no_hard_links")
def test_without_hard_links_the_name_does_not_appear_before_the_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def killed(self: Path, target: Path) -> None:
        seen.append((self.read_bytes(), target.exists()))
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)

    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "trex.png", PIXEL)

    assert seen == [(PIXEL, False)]
    assert list(tmp_path.iterdir()) == []


def test_temporary_files_are_hidden_and_named_after_the_package(tmp_path: Path) -> None:
    with whole_file(tmp_path / "trex.png"):
        (path,) = tmp_path.iterdir()

    assert re.fullmatch(r"\.aimlapi-images-[0-9a-f]{16}\.part", path.name)


ORDER = """
import asyncio, os, sys, time
from aimlapi_images import ImageClient

async def main(key, base_url, path):
    async with ImageClient(key, base_url=base_url) as client:
        await client.generate("x", to=path)

os.fsync = lambda descriptor: time.sleep(60)  # killed before the file gets its name
asyncio.run(main(*sys.argv[1:]))
"""


def test_what_a_killed_process_left_is_removed_a_day_later(tmp_path: Path) -> None:
    with (
        MisbehavingServer([reply(200, PIXEL_ANSWER)]) as server,
        subprocess.Popen([sys.executable, "-c", ORDER, KEY, server.origin, str(tmp_path / "fox")]) as process,
    ):
        while process.poll() is None and not list(tmp_path.iterdir()):
            time.sleep(0.01)
        process.kill()
    (left,) = tmp_path.iterdir()
    fresh = Path(shutil.copy(left, tmp_path / ".aimlapi-images-0123456789abcdef.part"))
    foreign = [tmp_path / name for name in (".aimlapi-images-notes.part", ".other.part", left.name[1:])]
    for path in (left, *foreign):
        path.touch()
        os.utime(path, (0, time.time() - 25 * 3600))

    write_whole(tmp_path / "trex.png", PIXEL)

    assert set(tmp_path.iterdir()) == {fresh, *foreign, tmp_path / "trex.png"}


def test_a_leftover_that_cannot_be_removed_does_no_harm(tmp_path: Path) -> None:
    left = tmp_path / ".aimlapi-images-0123456789abcdef.part"
    left.mkdir()
    os.utime(left, (0, 0))

    write_whole(tmp_path / "trex.png", PIXEL)

    assert set(tmp_path.iterdir()) == {left, tmp_path / "trex.png"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "trex.png", PIXEL, overwrite=overwrite)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "number", "expected"),
    [
        ("fox", 1, "fox"),
        ("fox", 2, "fox-2"),
        ("fox.png", 2, "fox-2"),
        ("v1.2", 2, "v1.2-2"),
        ("taken", 2, "taken-4"),
        ("taken", 4, "taken-4"),
    ],
)
def test_further_images_of_a_response_are_numbered(tmp_path: Path, path: str, number: int, expected: str) -> None:
    (tmp_path / "Taken-2.webp").touch()
    (tmp_path / "taken-3.png").touch()

    assert free_number(tmp_path / path, number) == tmp_path / expected
