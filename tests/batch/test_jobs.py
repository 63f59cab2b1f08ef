"""Jobs, read from files and from Python."""

from __future__ import annotations

import io
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from aimlapi_images import InvalidRequestError
from aimlapi_images.batch import Job, read_jobs


def read(folder: Path, name: str, content: bytes | str, **options: Any) -> list[Job]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_jobs(path, **options))


def test_a_text_file_has_a_prompt_on_each_line(tmp_path: Path) -> None:
    first, second = read(tmp_path, "jobs.txt", "A fox\n\n  An owl, at night \n")

    assert (first.fields, first.line) == ({"prompt": "A fox"}, 1)
    assert (second.fields, second.line) == ({"prompt": "An owl, at night"}, 3)
    assert first.id.startswith("a-fox-")
    assert first.problem is second.problem is None


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_byte_order_mark_and_line_ends_do_not_count(tmp_path: Path, end: str, bom: bytes) -> None:
    found = read(tmp_path, "jobs.txt", bom + f"Löwe{end}猫 \u2028 \x0b!{end}".encode())

    assert [job.fields["prompt"] for job in found] == ["Löwe", "猫 \u2028 \x0b!"]
    assert [job.id for job in found] == [job.id for job in read(tmp_path, "b.txt", "Löwe\n猫 \u2028 \x0b!")]


def test_ids_come_from_the_content_and_not_from_the_place(tmp_path: Path) -> None:
    one = {job.fields["prompt"]: job.id for job in read(tmp_path, "jobs.txt", "A fox\nAn owl\n")}
    two = {
        job.fields["prompt"]: job.id for job in read(tmp_path, "jobs.jsonl", '{"prompt":"An owl"}\n{"prompt":"A fox"}')
    }

    assert one == two
    assert len(set(one.values())) == 2


def test_columns_are_fields_of_their_type_or_carried(tmp_path: Path) -> None:
    content = (
        "id,prompt,size,output_compression,output_format,title\n"
        '7,"A fox, ""red""\nand quick",1024x1024,80,jpeg,Füchse\n'
        "007,An owl,,,,\n"
    )

    first, second = read(tmp_path, "jobs.csv", content)

    assert first == Job(
        id="7",
        fields={
            "prompt": 'A fox, "red"\nand quick',
            "size": "1024x1024",
            "output_compression": 80,
            "output_format": "jpeg",
        },
        carried={"title": "Füchse"},
        line=2,
    )
    assert (second.id, second.fields, second.line) == ("007", {"prompt": "An owl"}, 4)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_spreadsheets_of_other_countries_are_read(tmp_path: Path, delimiter: str) -> None:
    (job,) = read(tmp_path, "jobs.csv", delimiter.join(["id", "prompt"]) + "\n" + delimiter.join(["1", "A fox, red"]))

    assert (job.id, job.fields) == ("1", {"prompt": "A fox, red"})


def test_files_for_the_batch_api_of_openai_are_read(tmp_path: Path) -> None:
    lines = [
        {"custom_id": "a", "method": "POST", "url": "/v1/images/generations",
         "body": {"model": "gpt-image-1.5", "prompt": "A fox", "size": "1024x1024", "n": 1}},
        {"custom_id": "b", "method": "POST", "url": "/v1/images/generations", "body": {"prompt": "An owl"}},
        {"custom_id": "c", "method": "POST", "url": "/v1/chat/completions", "body": {"prompt": "No"}},
    ]  # fmt: skip

    first, second, third = read(tmp_path, "jobs.jsonl", "\n".join(map(json.dumps, lines)))

    assert (first.id, first.fields["model"], first.fields["n"]) == ("a", "openai/gpt-image-1-5", 1)
    assert (second.id, second.fields) == ("b", {"prompt": "An owl"})
    assert "not a request for an image" in str(third.problem)


def test_images_are_found_beside_the_file(tmp_path: Path) -> None:
    content = '{"prompt": "x", "image": ["a.png", "/b.png"], "mask": "m.png", "metadata": {"sku": 1}}'

    (job,) = read(tmp_path, "jobs.jsonl", content)

    assert job.fields["image"] == [str(tmp_path / "a.png"), "/b.png"]
    assert job.fields["mask"] == str(tmp_path / "m.png")
    assert job.carried == {"sku": 1}


def test_a_cell_may_have_several_images(tmp_path: Path) -> None:
    one, two = read(tmp_path, "jobs.csv", 'prompt,image\nx,a.png\ny,"[""a.png"", ""b.png""]"\n')

    assert one.fields["image"] == str(tmp_path / "a.png")
    assert two.fields["image"] == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "not JSON"),
        (b'"x"', "not an object with a prompt"),
        (b"[" * 100_000, "not JSON"),
        (b'{"prompt": "\xff"}', "not UTF-8"),
        (b'{"prompt": "x", "id": "\\ud800"}', "not UTF-8"),
        (b'{"prompt": "x", "metadata": {"a": "\\ud800"}}', "not UTF-8"),
        (b'{"prompt": "x", "metadata": 1}', "metadata must be an object"),
        (b'{"prompt": NaN}', "Out of range"),
        (b'{"prompt": "x", "image": 1}', "image must be the path of a file"),
        (b'{"prompt": "x", "image": ""}', "image must be the path of a file"),
        (b'{"prompt": "x", "id": "' + b"a" * 1001 + b'"}', "its id has 1,001 characters"),
        (b'{"prompt": "' + b"a" * 2**20 + b'"}', "longer than 1,048,576 characters"),
    ],
)
def test_a_line_that_cannot_be_read_is_a_problem_of_its_own(tmp_path: Path, line: bytes, problem: str) -> None:
    before, bad, after = read(tmp_path, "jobs.jsonl", b'{"prompt": "1"}\n' + line + b'\n{"prompt": "2"}\n')

    assert problem in str(bad.problem)
    assert bad.line == 2
    assert (before.problem, after.problem, after.line) == (None, None, 3)


def test_a_row_with_too_many_cells_or_an_open_quote_is_a_problem(tmp_path: Path) -> None:
    wide, fine, open_quote = read(tmp_path, "jobs.csv", 'prompt\nx,y\nz\n"open\n')

    assert (wide.line, wide.problem) == (2, "2 columns, but the first line names 1")
    assert fine.fields == {"prompt": "z"}
    assert "not CSV" in str(open_quote.problem)
    assert open_quote.line == 4


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("jobs.csv", "id,text\n1,x\n", "must name the columns, prompt among them, not 'id,text'"),
        ("jobs.csv", "", "must name the columns"),
        ("jobs.doc", "x", r"is no \.txt, \.csv, \.jsonl or \.parquet file"),
        ("jobs.txt", "A fox".encode("utf-16"), "is UTF-16: save it as UTF-8"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str, content: bytes | str, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        read(tmp_path, name, content)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"none\.txt cannot be read: No such file"):
        list(read_jobs(tmp_path / "none.txt"))


def test_standard_input_is_read_if_its_format_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"\xef\xbb\xbfA fox\r\n"))))

    with pytest.raises(InvalidRequestError, match=r"- is no \.txt"):
        list(read_jobs("-"))
    (job,) = read_jobs("-", format="txt")

    assert job.fields == {"prompt": "A fox"}


def test_jobs_come_from_python_as_prompts_mappings_or_jobs() -> None:
    job = Job("mine", {"prompt": "An owl"})

    text, mapping, same, wrong = read_jobs(["A fox", {"id": 5, "prompt": "A cat", "size": None}, job, 7])  # type: ignore[list-item]

    assert text.fields == {"prompt": "A fox"}
    assert (mapping.id, mapping.fields, mapping.line) == ("5", {"prompt": "A cat"}, 2)
    assert same == job
    assert "not an object" in str(wrong.problem)


def test_a_file_is_read_line_by_line() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as pipe:
        found = read_jobs(f"/dev/fd/{reading}", format="txt")
        pipe.write("A fox\n" * 2000)
        pipe.flush()
        first = list(itertools.islice(found, 1000))
        found.close()  # type: ignore[attr-defined]
    os.close(reading)

    assert len(first) == 1000
