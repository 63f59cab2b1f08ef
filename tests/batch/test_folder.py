"""The output folder: names that are safe on every system, and the lock."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aimlapi_images import BatchError
from aimlapi_images.batch import Job
from aimlapi_images.batch.reading.loading import Options, load
from aimlapi_images.batch.store import folder
from aimlapi_images.batch.store.state import State
from aimlapi_images.orders import schema

HOSTILE = (
    *(
        "../../x",
        "/etc/passwd",
        "C:\\x",
        "CON",
        "con.txt",
        "NUL",
        "a" * 300,
        "🦊",
        "a\nb",
        "a\0b",
        ".",
        "..",
        ".hidden",
    ),
    *("trailing.", "trailing ", " leading", "-o", "~", "a~b", "fox", "Fox", "FOX", "fox.png", "fox.jpg", "fox.png.png"),
    *(
        "fox-2",
        "fox~1",
        "é",
        "e\u0301",
        "ß",
        "ss",
        "İ",
        "i",
        "ſ",
        "S",
        "a/b",
        "a:b",
        "a*b",
        "a|b",
        'a"b',
        "batch.sqlite",
    ),
)


def names(*ids: str) -> list[str]:
    with closing(State(None)) as state:
        load(state, Path("/nowhere"), [Job(id_, {"prompt": "x"}) for id_ in ids], Options())
        return [row[0] for row in state.db.execute("SELECT name FROM jobs ORDER BY job")]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30), unique=True, max_size=10))
@example(list(HOSTILE))
@settings(deadline=None)
@example(["fox", "fox~4b4a6b3b0b2b5f0b", "fox.webp", "FOX.PNG"])
def test_two_ids_never_have_one_file_on_any_system(ids: list[str]) -> None:
    found = names(*ids)

    assert len(found) == len(ids)
    assert len({name.casefold() for name in found}) == len(ids)
    for name in found:
        assert len(f"{name}~changed-999.webp".encode()) <= 255
        assert not re.search(r'[\x00-\x1f<>:"/\\|?*]', name)
        assert not name.startswith((".", " ", "-"))
        assert not name.endswith((".", " "))
        assert not re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name)


@pytest.mark.parametrize("id_", ["fox", "IMG_0042", "a-fox-0123456789ab", "v1.2", "_x", "2024.01.05"])
def test_plain_ids_are_names(id_: str) -> None:
    assert folder.file_name(id_) == id_


@pytest.mark.parametrize("id_", HOSTILE)
def test_any_id_gives_an_order_id_that_the_api_takes(id_: str) -> None:
    order = folder.order_id("0123abcd", id_, 99)

    assert not schema.request_id_problems(order + ".0123abcd.9999")


def test_a_thousand_files_share_a_folder(tmp_path: Path) -> None:
    paths = [folder.target(tmp_path, number, "x", 1).parent for number in (1, 1000, 1001, 2000, 2001)]

    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [".", ".", "0001", "0001", "0002"]


def test_the_second_image_of_a_job_is_not_that_of_another_job(tmp_path: Path) -> None:
    several, other = folder.target(tmp_path, 1, "fox", 2), folder.target(tmp_path, 2, *("fox~1", 1))

    assert several.name == "fox~1"
    assert folder.file_name("fox~1") != "fox~1"
    assert other.name == "fox~1"  # which no plain id becomes


def test_a_lock_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    held = r"another run uses .*: process \d+ on .*, since 20\d\d-.*Wait for it"
    with folder.locked(tmp_path), pytest.raises(BatchError, match=held), folder.locked(tmp_path):
        pass
    with folder.locked(tmp_path):
        pass


def test_a_lock_file_that_nobody_holds_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "batch.lock").write_text('{"pid": 1, "host": "elsewhere", "since": "2020"}')

    with folder.locked(tmp_path):
        assert '"host": "elsewhere"' not in (tmp_path / "batch.lock").read_text()


def test_a_changed_file_is_kept_under_another_name(tmp_path: Path) -> None:
    for content in ("1", "2"):
        (tmp_path / "fox.png").write_text(content)
        folder.set_aside(tmp_path / "fox.png")

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "fox~changed-1.png": "1",
        "fox~changed-2.png": "2",
    }
