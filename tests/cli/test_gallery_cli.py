"""The command `gallery`, and the gallery at the end of a batch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aimlapi_images import cli, emulator
from aimlapi_images.cli.batches import gallery as at_the_end
from aimlapi_images.gallery import page, thumbnails
from galleries import Made, picture, store


@pytest.fixture(autouse=True)
def _in_a_folder_with_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("jobs.txt").write_text("A fox\nAn owl\n", encoding="utf-8")
    store(Path("zoo"), [Made(id="fox", data=(picture(),)), Made(id="owl")])


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["aimlapi-images", *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main(arguments)
        assert isinstance(exit_.value.code, int)
        return exit_.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def batch(run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Run a batch of two jobs with some options."""
    with emulator.serve(drawing="plain", time_scale=100.0) as running:
        monkeypatch.setenv("AIMLAPI_API_KEY", "any-key")
        monkeypatch.setenv("AIMLAPI_API_BASE", running.base_url)
        yield lambda *options: run("batch", "jobs.txt", "--out", "out", *options)


def test_it_writes_the_page_and_says_where(run: Callable[..., Any]) -> None:
    assert run("gallery", "zoo") == (0, f"{Path('zoo/index.html').absolute()}\n", "")
    assert len(list(Path("zoo/.thumbnails").glob("*/*.webp"))) == 1


def test_on_a_terminal_it_says_how_far_it_is(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    code, _, err = run("gallery", "zoo")

    assert (code, err) == (0, "\rgallery: 2 of 2 jobs\n")


def test_thumbnails_are_optional_and_need_pillow(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (page, thumbnails):
        monkeypatch.setattr(module, "available", lambda: False)

    silent, told = run("gallery", "zoo", "--no-thumbnails"), run("gallery", "zoo")

    assert (silent[0], silent[2]) == (0, "")
    assert told[0] == 0
    assert told[2].startswith('aimlapi-images: the gallery has no thumbnails: making them needs the extra "images"')
    assert not Path("zoo/.thumbnails").exists()


def test_a_folder_without_a_batch_and_ctrl_c_have_their_exit_codes(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run("gallery", ".")
    assert (code, out) == (4, "")
    assert "is not the folder of a batch" in err

    monkeypatch.setattr(page, "_write", interrupt)
    assert run("gallery", "zoo") == (130, "", "")


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_batch_ends_with_its_gallery(batch: Callable[..., Any]) -> None:
    code, _, err = batch()

    assert code == 0
    assert err.endswith(f"gallery: {Path('out/index.html').absolute()}\n")
    assert Path("out/index.html").exists()


@pytest.mark.parametrize("quiet", ["--quiet", "--json"])
def test_a_quiet_batch_does_not_mention_it(batch: Callable[..., Any], quiet: str) -> None:
    code, _, err = batch(quiet)

    assert (code, err) == (0, "")
    assert Path("out/index.html").exists()


def test_it_can_be_switched_off_and_needs_pillow(batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    off = batch("--no-gallery", "--limit", "1")
    monkeypatch.setattr(thumbnails, "available", lambda: False)
    without = batch()

    assert (off[0], without[0]) == (0, 0)
    assert not Path("out/index.html").exists()


def test_a_large_batch_gets_it_when_asked(batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_the_end, "_MOST_JOBS", 1)

    code, _, err = batch()

    assert (code, Path("out/index.html").exists()) == (0, False)
    assert err.endswith("for a gallery of so many jobs: aimlapi-images gallery out\n")


@pytest.mark.parametrize("error", [RuntimeError("no reason"), KeyboardInterrupt(), MemoryError()])
def test_whatever_happens_to_it_the_batch_ends_as_it_did(
    batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(page, "_write", fail)

    code, out, err = batch()

    assert (code, out) == (0, "2 of 2 done, $0.0680 spent\n")
    assert f"aimlapi-images: the gallery is not written: {str(error) or type(error).__name__}" in err
    assert err.endswith("(to try again: aimlapi-images gallery out)\n")
    assert not Path("out/index.html").exists()


def test_a_batch_with_nothing_to_do_leaves_it_as_it_is(batch: Callable[..., Any]) -> None:
    batch()
    Path("out/index.html").write_text("as it was")

    code, _, err = batch()

    assert (code, "gallery" in err) == (0, False)
    assert Path("out/index.html").read_text() == "as it was"
