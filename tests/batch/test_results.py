"""The results, in files that other programs open."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from pyarrow import parquet

from aimlapi_images import BatchError, ImageClient, InvalidRequestError
from aimlapi_images.batch import JobResult, Status, export_results, read_results, run_batch
from aimlapi_images.emulator import RunningEmulator
from batches import exported, jobs, run


@pytest.fixture
async def out(fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path) -> Path:
    """A batch of which one job was refused."""
    await run(fast_client, jobs("Füchse\n🦊", metadata={"sku": 7}), tmp_path)
    fast_emulator.fail("content_policy")
    await run(fast_client, [*jobs("Füchse\n🦊", metadata={"sku": 7}), *jobs("b", size="1024x1024")], tmp_path)
    return tmp_path


def test_results_are_values(out: Path) -> None:
    fox, refused = read_results(out)

    assert (fox.id, fox.status, fox.carried) == ("Füchse\n🦊", Status.DONE, {"sku": 7})
    assert (refused.status, refused.error_class, refused.file) == (Status.REFUSED, "ContentPolicyError", None)
    assert refused.parameters == {"model": "openai/gpt-image-1-5", "size": "1024x1024"}


def test_lines_of_json_have_all_fields(out: Path) -> None:
    lines = exported(out)

    assert [line["id"] for line in lines] == ["Füchse\n🦊", "b"]
    assert set(lines[0]) == set(JobResult.__annotations__)
    assert (out / lines[0]["file"]).stat().st_size == lines[0]["bytes"]


def test_csv_has_nested_values_as_json(out: Path, tmp_path: Path) -> None:
    path = export_results(out, tmp_path / "results.csv", format="csv")

    with path.open(encoding="utf-8", newline="") as file:
        fox, refused = csv.DictReader(file)
    assert (fox["id"], json.loads(fox["carried"])) == ("Füchse\n🦊", {"sku": 7})
    assert (refused["file"], refused["status"]) == ("", "refused")


def test_parquet_has_types(out: Path, tmp_path: Path) -> None:
    path = export_results(out, tmp_path / "results.parquet", format="parquet")

    fox, refused = parquet.read_table(path).to_pylist()
    assert (fox["id"], fox["credits"], fox["usd"]) == ("Füchse\n🦊", 68_000, 0.034)
    assert (refused["bytes"], json.loads(refused["parameters"])["size"]) == (None, "1024x1024")


def test_an_export_replaces_a_file_whole(out: Path, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text("old")

    export_results(out, tmp_path / "r.jsonl")

    assert (tmp_path / "r.jsonl").read_text(encoding="utf-8") == (out / "results.jsonl").read_text(encoding="utf-8")
    assert not list(tmp_path.glob(".aimlapi*"))


def test_what_cannot_be_exported_is_refused(out: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="format must be jsonl or csv or parquet, not 'xml'"):
        export_results(out, tmp_path / "x", format="xml")
    with pytest.raises(InvalidRequestError, match="cannot be written: No such file"):
        export_results(out, tmp_path / "none" / "x")
    with pytest.raises(InvalidRequestError, match="to is not a valid path"):
        export_results(out, "a\0b")
    with pytest.raises(BatchError, match="is not the folder of a batch"):
        export_results(tmp_path / "none", tmp_path / "x")


async def test_results_are_read_while_the_batch_runs(fast_client: ImageClient, tmp_path: Path) -> None:
    seen = 0
    async for _ in run_batch(fast_client, jobs("a", "b"), out=tmp_path):
        seen += 1
        assert sum(result.status is Status.DONE for result in read_results(tmp_path)) >= seen
