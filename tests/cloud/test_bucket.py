"""Batches whose images are in object storage: in memory, and on an S3 endpoint."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import fsspec
import pyarrow
import pytest
from pyarrow import parquet

from aimlapi_images import BatchError, ImageClient, InvalidRequestError
from aimlapi_images.batch import Status, read_jobs, read_results, reconcile
from aimlapi_images.batch.cloud.bucket import Bucket
from aimlapi_images.batch.runner import plan_batch
from aimlapi_images.emulator import RunningEmulator
from batches import jobs, query, run, start
from storage import files, s3_server

TEN = jobs(*(f"job-{number}" for number in range(10)))


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as bucket:
        yield f"s3://{bucket}"


@pytest.fixture(params=["s3", "memory"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A URL that nothing is at yet."""
    if request.param == "memory":
        return f"memory://{tmp_path.name}"
    return f"{request.getfixturevalue('s3')}/{tmp_path.name}"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def objects(out: str) -> dict[str, bytes]:
    """Everything at a URL, by name."""
    storage, root = fsspec.url_to_fs(out)
    storage.invalidate_cache()
    return {path.removeprefix(f"{root}/"): storage.cat_file(path) for path in storage.find(root)}


async def test_images_state_and_results_are_in_the_bucket(
    fast_client: ImageClient, fast_emulator: RunningEmulator, out: str, tmp_path: Path
) -> None:
    ran = await run(fast_client, TEN, out, state=tmp_path / "state")

    stored = objects(out)
    assert set(ran.statuses.values()) == {"done"}
    assert set(stored) == {
        *(f"job-{number}.png" for number in range(10)),
        "results.jsonl",
        "batch.sqlite",
        "batch.owner.json",
    }
    assert [hashlib.sha256(stored[row.file or ""]).hexdigest() for row in ran.results.values()] == [
        row.sha256 for row in ran.results.values()
    ]
    assert {json.loads(line)["id"] for line in stored["results.jsonl"].splitlines()} == set(ran.results)
    assert list((tmp_path / "state").glob("*.png")) == []
    assert ran.started.out == out
    assert fast_emulator.billed == 10


async def test_a_second_run_makes_what_is_missing_or_changed(
    fast_client: ImageClient, fast_emulator: RunningEmulator, out: str
) -> None:
    await run(fast_client, TEN, out)
    storage, root = fsspec.url_to_fs(out)
    storage.rm_file(f"{root}/job-3.png")
    storage.pipe_file(f"{root}/job-5.png", b"something else")

    again = await run(fast_client, TEN, out)
    third = await run(fast_client, TEN, out)

    assert again.statuses == {"job-3": "done", "job-5": "done"}
    assert sorted(again.notices) == [
        "job-3.png is missing: it is fetched or made again",
        "job-5.png has changed: it is fetched or made again, and the other is kept as job-5~changed-1.png",
    ]
    assert fast_emulator.billed == 10  # fetched, as their URLs still lead to them
    assert third.results == {}
    assert objects(out)["job-5.png"].startswith(b"\x89PNG")
    assert objects(out)["job-5~changed-1.png"] == b"something else"


async def test_verify_reads_every_object(fast_client: ImageClient, out: str) -> None:
    await run(fast_client, jobs("a", "b"), out)
    storage, root = fsspec.url_to_fs(out)
    was = storage.cat_file(f"{root}/a.png")
    storage.pipe_file(f"{root}/a.png", was[:-20] + bytes(8) + was[-12:])  # of the same size

    unseen = await run(fast_client, jobs("a", "b"), out)
    seen = await run(fast_client, jobs("a", "b"), out, verify=True)

    assert unseen.results == {}
    assert seen.statuses == {"a": "done"}


async def test_another_machine_goes_on_from_the_bucket(
    fast_client: ImageClient, fast_emulator: RunningEmulator, out: str, tmp_path: Path
) -> None:
    await run(fast_client, TEN, out, limit=4, state=tmp_path / "here")

    ran = await run(fast_client, None, out, state=tmp_path / "there")

    assert len(ran.results) == 6
    assert ran.counts == {"done": 10}
    assert fast_emulator.billed == 10
    assert "the state is taken over from" in ran.notices[0]


def killed(running: RunningEmulator, out: str, here: Path) -> None:
    """Run a batch of 40 jobs as a command, and kill it when some are made."""
    (here.parent / "jobs.txt").write_text("".join(f"A fox, number {number}\n" for number in range(40)))
    with start(running.base_url, "batch", here.parent / "jobs.txt", "--out", out, "--state", here, "-q") as process:
        while running.billed < 5 and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        process.communicate()


async def test_a_run_that_may_still_go_on_is_not_taken_over(
    fast_client: ImageClient, fast_emulator: RunningEmulator, s3: str, tmp_path: Path
) -> None:
    out = f"{s3}/{tmp_path.name}"
    await asyncio.to_thread(killed, fast_emulator, out, tmp_path / "here")

    shutil.rmtree(tmp_path / "here")

    with pytest.raises(BatchError, match=r"another run uses s3://.* If it is lost, try again after \d\d:\d\d"):
        await run(fast_client, None, out, state=tmp_path / "there")


async def test_a_machine_that_was_overtaken_does_not_send_the_same_orders(
    fast_client: ImageClient, fast_emulator: RunningEmulator, out: str, tmp_path: Path
) -> None:
    await run(fast_client, TEN, out, limit=2, state=tmp_path / "here")
    await run(fast_client, None, out, limit=2, state=tmp_path / "there")

    with pytest.raises(BatchError, match=r"another machine has gone on with the batch in .*To go on here, remove"):
        await run(fast_client, None, out, state=tmp_path / "here")
    billed = fast_emulator.billed
    shutil.rmtree(tmp_path / "here")
    last = await run(fast_client, None, out, state=tmp_path / "here")

    assert billed == 4
    assert last.counts == {"done": 10}
    assert fast_emulator.billed == 10


async def test_a_machine_that_is_overtaken_meanwhile_stops(
    fast_client: ImageClient, fast_emulator: RunningEmulator, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aimlapi_images.batch.cloud.checkpoints._EVERY", 0.1)
    fast_emulator.configure(latency=50.0)
    storage, root = fsspec.url_to_fs(out)

    with pytest.raises(BatchError, match="another run has taken over"):
        await run(
            fast_client,
            jobs(*map(str, range(200))),
            out,
            each=lambda: storage.pipe_file(f"{root}/batch.owner.json", b'{"nonce": "another"}'),
        )

    assert fast_emulator.billed < 150


async def test_a_machine_that_slept_sends_no_further_order(
    fast_client: ImageClient, fast_emulator: RunningEmulator, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep() -> None:  # the last copy is years old
        monkeypatch.setattr("aimlapi_images.batch.cloud.checkpoints._LONGEST", -1e9)

    with pytest.raises(BatchError, match=r"the last copy of the state in .* is too old"):
        await run(fast_client, jobs(*map(str, range(200))), out, each=sleep)

    assert fast_emulator.billed < 150


async def test_a_refused_takeover_looks_at_the_newest_copy(
    fast_client: ImageClient, fast_emulator: RunningEmulator, s3: str, tmp_path: Path
) -> None:
    out = f"{s3}/{tmp_path.name}"
    await asyncio.to_thread(killed, fast_emulator, out, tmp_path / "here")
    for _ in range(2):  # the first one leaves a copy here
        with pytest.raises(BatchError, match="another run uses"):
            await run(fast_client, None, out, state=tmp_path / "there")
    await run(fast_client, None, out, state=tmp_path / "here")  # it was not lost

    ran = await run(fast_client, None, out, state=tmp_path / "there")

    assert ran.results == {}
    assert fast_emulator.billed <= query(tmp_path / "here", "SELECT count(*) FROM attempts")[0][0]


async def test_a_dry_run_counts_what_is_in_the_bucket(fast_client: ImageClient, out: str, tmp_path: Path) -> None:
    await run(fast_client, TEN, out, limit=4, state=tmp_path / "here")

    plan = plan_batch(None, out=out, state=tmp_path / "there")

    assert plan.start.counts == {"done": 4, "pending": 6}
    assert not (tmp_path / "there").exists()


async def test_what_a_lost_machine_sent_since_its_last_copy_is_found_in_the_log(
    fast_client: ImageClient, fast_emulator: RunningEmulator, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = f"{s3}/{tmp_path.name}"
    await asyncio.to_thread(killed, fast_emulator, out, tmp_path / "here")
    sent = fast_emulator.billed
    shutil.rmtree(tmp_path / "here")  # the machine is gone
    monkeypatch.setattr("aimlapi_images.batch.cloud.checkpoints.GRACE", timedelta(0))

    ran = await run(fast_client, None, out, state=tmp_path / "there")
    settled = await reconcile(fast_client, tmp_path / "there", grace=0)
    last = await run(fast_client, None, out, state=tmp_path / "there", retry_lost=True)

    assert sent > 0
    assert ran.counts.get("done", 0) + ran.counts.get("lost", 0) + ran.counts.get("unknown", 0) == 40
    assert settled.open == 0
    assert last.counts == {"done": 40}
    lost = query(tmp_path / "there", "SELECT count(*) FROM attempts WHERE outcome = 'billed'")[0][0]
    assert fast_emulator.billed == 40 + lost


async def test_jobs_are_read_from_the_bucket(s3: str, tmp_path: Path) -> None:
    rows = [{"id": "fox", "prompt": "A fox", "size": None, "shelf": 7, "quality": "low"}, {"prompt": "An owl"}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "jobs.parquet")
    files().put_file(str(tmp_path / "jobs.parquet"), f"pictures/{tmp_path.name}/jobs.parquet")
    files().pipe_file(f"pictures/{tmp_path.name}/jobs.txt", b"A fox\nAn owl\n")

    fox, owl = read_jobs(f"{s3}/{tmp_path.name}/jobs.parquet")
    lines = list(read_jobs(f"{s3}/{tmp_path.name}/jobs.txt"))

    assert (fox.id, fox.fields, fox.carried) == ("fox", {"prompt": "A fox", "quality": "low"}, {"shelf": 7})
    assert (owl.fields, owl.line) == ({"prompt": "An owl"}, 2)
    assert [job.fields["prompt"] for job in lines] == ["A fox", "An owl"]
    with pytest.raises(InvalidRequestError, match=r"nothing\.txt cannot be read"):
        list(read_jobs(f"{s3}/nothing.txt"))


async def test_results_are_read_from_the_state(fast_client: ImageClient, out: str) -> None:
    await run(fast_client, jobs("a"), out)

    assert [(row.id, row.status, row.file) for row in read_results(out)] == [("a", Status.DONE, "a.png")]
    assert (await reconcile(fast_client, out)).open == 0


@pytest.mark.parametrize(
    ("out", "options", "message"),
    [
        ("gopher://a/b", {}, "gopher://a/b cannot be used: Protocol not known: gopher"),
        ("images", {"state": "elsewhere"}, "state is for a batch in object storage"),
    ],
)
async def test_what_cannot_be_used_is_refused(
    fast_client: ImageClient, fast_emulator: RunningEmulator, out: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        await run(fast_client, TEN, out, **options)
    assert fast_emulator.billed == 0


async def test_a_bucket_that_is_not_there_is_refused_unsent(
    fast_client: ImageClient, fast_emulator: RunningEmulator, s3: str
) -> None:
    with pytest.raises(BatchError, match="cannot be "):
        await run(fast_client, TEN, "s3://no-such-bucket/x")
    assert fast_emulator.billed == 0


async def test_a_bucket_with_images_but_no_state_is_refused_unless_they_are_adopted(
    fast_client: ImageClient, fast_emulator: RunningEmulator, out: str, tmp_path: Path
) -> None:
    await run(fast_client, TEN, out, state=tmp_path / "state")
    storage, root = fsspec.url_to_fs(out)
    storage.rm_file(f"{root}/batch.sqlite")
    storage.rm_file(f"{root}/job-3.png")
    with pytest.raises(BatchError, match="has images, but no state of a batch"):
        await run(fast_client, TEN, out, state=tmp_path / "new")

    ran = await run(fast_client, TEN, out, state=tmp_path / "new", adopt=True)

    assert ran.statuses == {"job-3": "done"}
    assert fast_emulator.billed == 11


async def test_the_state_of_one_place_is_not_used_for_another(
    fast_client: ImageClient, out: str, tmp_path: Path
) -> None:
    await run(fast_client, jobs("a"), out, state=tmp_path / "state")

    with pytest.raises(BatchError, match="is that of a batch whose images are in"):
        await run(fast_client, jobs("a"), tmp_path / "state")


async def test_a_bucket_that_fails_later_stops_the_batch_and_loses_nothing(
    fast_client: ImageClient, fast_emulator: RunningEmulator, s3: str, tmp_path: Path
) -> None:
    await run(fast_client, jobs("a"), f"{s3}/{tmp_path.name}")
    denied = Bucket.put

    def put(self: Bucket, name: str, file: Path) -> None:
        if name.endswith(".png"):
            raise BatchError("access denied")
        denied(self, name, file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bucket, "put", put)
        with pytest.raises(BatchError, match="access denied"):
            await run(fast_client, TEN, f"{s3}/{tmp_path.name}")
    paid = fast_emulator.billed

    again = await run(fast_client, TEN, f"{s3}/{tmp_path.name}")

    assert again.counts == {"done": 10}
    assert fast_emulator.billed == 11 > paid - 1
