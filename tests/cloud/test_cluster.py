"""A batch on a real Dask cluster of processes, with its images on an S3 endpoint."""

from __future__ import annotations

import ast
import asyncio
import hashlib
import os
import shlex
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow
import pytest
from dask import config
from distributed import Client, LocalCluster
from pyarrow import parquet

from aimlapi_images import BatchError, ImageClient, InvalidRequestError, emulator
from aimlapi_images.batch import BatchEnded, run_batch_on
from aimlapi_images.emulator import RunningEmulator
from batches import command, jobs, query, start
from conftest import KEY
from guides import blocks
from storage import files, s3_server

# Faults of all meanings that a batch goes on after.
FAULTS = {
    "rate_limited": 0.03,
    "server_error": 0.03,
    "dropped_after": 0.02,
    "empty_data": 0.02,
    "late_url": 0.05,
    "image_cut": 0.05,
    "expired_url": 0.02,
}
pytestmark = [
    # Warnings of Dask's own, when worker processes come and go.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore:.*:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.xdist_group("cluster"),  # one cluster for all
]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as bucket:
        yield f"s3://{bucket}"


@pytest.fixture(scope="module")
def dask(s3: str) -> Iterator[Client]:
    """A client of two worker processes. They have no API key."""
    assert "AIMLAPI_API_KEY" not in os.environ
    with (
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=2, threads_per_worker=2, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,  # type: ignore[no-untyped-call]
    ):
        yield client


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def correct_objects(state: Path, out: str) -> int:
    """How many images are in the bucket as the state says."""
    storage = files()
    return sum(
        hashlib.sha256(storage.cat_file(f"{out}/{path}")).hexdigest() == digest
        for path, digest in query(state, "SELECT file, sha256 FROM results WHERE status = 'done'")
    )


async def ended(dask: Client | str, client: ImageClient, what: Any, out: str, **options: Any) -> BatchEnded:
    """Run a batch on the cluster to its end."""
    events: list[Any] = []
    async for _ in run_batch_on(dask, what, out=out, client=client, progress=events.append, **options):
        pass
    return next(event for event in events if isinstance(event, BatchEnded))


async def test_workers_fetch_the_images(
    dask: Client, s3: str, fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    out, state = f"{s3}/{tmp_path.name}", tmp_path / "state"

    end = await ended(dask, fast_client, jobs(*(f"job-{number}" for number in range(30))), out, state=state)
    again = await ended(dask, fast_client, None, out, state=state)

    assert end.counts == again.counts == {"done": 30}
    assert correct_objects(state, out) == 30
    assert fast_emulator.billed == 30
    assert [path.name for path in state.glob("**/*.png")] == []
    assert query(state, "SELECT count(*) FROM files WHERE seconds > 0 AND width = 1024") == [(30,)]


async def test_images_in_the_answer_itself_go_to_the_bucket_as_well(
    dask: Client, s3: str, fast_client: ImageClient, tmp_path: Path
) -> None:
    out = f"{s3}/{tmp_path.name}"

    end = await ended(dask, fast_client, jobs("a", "b", response_format="b64_json"), out, state=tmp_path / "state")

    assert end.counts == {"done": 2}
    assert correct_objects(tmp_path / "state", out) == 2


async def test_workers_that_are_killed_cost_nothing(dask: Client, s3: str, tmp_path: Path) -> None:
    out, state, number = f"{s3}/{tmp_path.name}", tmp_path / "state", 100
    wanted = jobs(*(f"job-{each}" for each in range(number)))
    settings: dict[str, Any] = {"latency": 20.0, "retry_after": 0.1, "account_rpm": 100_000}
    with emulator.serve(drawing="plain", time_scale=100.0, seed=3, faults=FAULTS, **settings) as running:

        async def kill_two() -> None:
            for at in (20, 50):
                while running.billed < at:  # noqa: ASYNC110 - it runs in another thread
                    await asyncio.sleep(0.01)
                pids = await asyncio.to_thread(dask.run, os.getpid, on_error="ignore")
                os.kill(next(iter(pids.values())), signal.SIGKILL)

        killing = asyncio.create_task(kill_two())
        async with ImageClient(KEY, base_url=running.base_url, max_concurrency=64) as client:
            await ended(dask, client, wanted, out, state=state)
            await killing
            running.configure(faults={})
            for _ in range(3):
                code, shown, said = await asyncio.to_thread(
                    command, running.base_url, "reconcile", state, "--grace", "0"
                )
                assert code == 0, shown + said
                end = await ended(dask, client, None, out, state=state, retry_lost=True)
        billed, usd = running.billed, running.stats.usd

    assert end.counts == {"done": number}
    assert correct_objects(state, out) == number
    lost = query(state, "SELECT count(*) FROM attempts WHERE outcome = 'billed'")[0][0]
    again = query(state, "SELECT count(*) - count(DISTINCT job) FROM attempts WHERE outcome = 'generated'")[0][0]
    assert billed == number + lost + again
    assert query(state, "SELECT round(sum(usd), 6) FROM attempts")[0][0] == pytest.approx(usd)


async def test_the_command_runs_on_a_cluster_and_another_one_goes_on_from_the_bucket(
    dask: Client, s3: str, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    out, here, there = f"{s3}/{tmp_path.name}", tmp_path / "here", tmp_path / "there"
    (tmp_path / "jobs.txt").write_text("".join(f"A fox, number {number}\n" for number in range(20)))
    batch = ("batch", tmp_path / "jobs.txt", "--out", out, "--dask", dask.scheduler_info()["address"])

    def kill() -> None:
        with start(fast_emulator.base_url, *batch, "--state", here) as process:
            while fast_emulator.billed < 5 and process.poll() is None:
                time.sleep(0.01)
            process.kill()
            process.communicate()

    await asyncio.to_thread(kill)
    patched = "import aimlapi_images.batch.cloud.checkpoints as c, datetime; c.GRACE = datetime.timedelta(0); "
    code, _, said = await asyncio.to_thread(command, fast_emulator.base_url, *batch, "--state", there, first=patched)
    await asyncio.to_thread(command, fast_emulator.base_url, "reconcile", there, "--grace", "0")
    last = await asyncio.to_thread(command, fast_emulator.base_url, *batch, "--state", there, "--retry-lost")

    assert code in (0, 1), said
    assert "the state is taken over from" in said
    assert last[0] == 0, last[2]
    assert "20 of 20 done" in last[1]
    assert correct_objects(there, out) == 20
    lost = query(there, "SELECT count(*) FROM attempts WHERE outcome = 'billed'")[0][0]
    again = query(there, "SELECT count(*) - count(DISTINCT job) FROM attempts WHERE outcome = 'generated'")[0][0]
    assert fast_emulator.billed == 20 + lost + again


async def test_a_failure_that_may_pass_loses_no_image(
    dask: Client, s3: str, fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    out, state = f"{s3}/{tmp_path.name}", tmp_path / "state"
    fast_emulator.fail("image_cut")
    fast_emulator.fail("expired_url")
    first = await ended(dask, fast_client, jobs("a", "b"), out, state=state)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = f":{closed.getsockname()[1]}/"
    with sqlite3.connect(state / "batch.sqlite") as store:  # a host that does not answer
        store.execute(
            "UPDATE attempts SET urls = replace(urls, ?, ?)", (f":{httpx.URL(fast_emulator.base_url).port}/", port)
        )
        store.execute("UPDATE jobs SET status = 'generated'")
    store.close()
    files().rm(files().glob(f"{out}/*.png"))

    second = await ended(dask, fast_client, None, out, state=state)

    assert first.counts == {"done": 1, "generated": 1}
    assert second.counts == {"generated": 2}
    assert fast_emulator.billed == 2


async def test_limits_hold_for_all_workers_together(dask: Client, s3: str, tmp_path: Path) -> None:
    with emulator.serve(drawing="plain", latency=0.0) as running:
        async with ImageClient(KEY, base_url=running.base_url, requests_per_minute=600) as client:
            started = time.monotonic()
            await ended(dask, client, jobs(*map(str, range(40))), f"{s3}/{tmp_path.name}")
            seconds = time.monotonic() - started

    assert running.stats.received <= 1.05 * (600 * seconds / 60 + 1)


async def test_the_key_is_in_no_task(
    dask: Client, s3: str, fast_emulator: RunningEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    submit = Client.submit

    def recording(self: Any, *arguments: Any, **options: Any) -> Any:
        sent.append((arguments, options))
        return submit(self, *arguments, **options)

    monkeypatch.setattr(Client, "submit", recording)
    async with ImageClient(KEY, base_url=fast_emulator.base_url) as client:
        await ended(dask, client, jobs("a"), f"{s3}/{tmp_path.name}")

    assert len(sent) == 1
    assert KEY not in repr(sent)
    assert KEY.encode() not in files().cat_file(f"{s3}/{tmp_path.name}/batch.sqlite")


async def test_a_cluster_needs_a_bucket(dask: Client, fast_client: ImageClient, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="out must be a URL, such as s3://bucket/folder"):
        await ended(dask, fast_client, jobs("a"), str(tmp_path / "images"))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "tcp://127.0.0.1", "tls://127.0.0.1:9"])
async def test_a_scheduler_that_does_not_answer_is_an_error_of_ours_and_leaves_nothing_open(
    address: str, s3: str, fast_client: ImageClient, fast_emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Client] = []

    def recorded(*arguments: Any, **options: Any) -> Client:
        made.append(Client(*arguments, **options))  # type: ignore[no-untyped-call]
        return made[-1]

    monkeypatch.setattr("distributed.Client", recorded)
    with (
        config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(BatchError, match=f"no Dask scheduler answers at {address}:"),
    ):
        await ended(address, fast_client, jobs("a"), f"{s3}/none")

    assert fast_emulator.billed == 0
    assert [each.status for each in made] == ["closed"]


async def test_the_guide_works(
    dask: Client, s3: str, fast_emulator: RunningEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIMLAPI_API_KEY", KEY)
    monkeypatch.setenv("AIMLAPI_API_BASE", fast_emulator.base_url)
    scheduler = dask.scheduler_info()["address"]
    table = pyarrow.table({"id": ["fox", "owl"], "prompt": ["a fox", "an owl"]})
    files().makedirs("shop", exist_ok=True)
    with files().open("s3://shop/products.parquet", "wb") as file:
        parquet.write_table(table, file)
    (tmp_path / "products.csv").write_text("id,prompt\nelk,an elk\n", encoding="utf-8")
    page = [each for each in blocks() if each.page == "docs/cluster.md"]
    lines = [line for each in page if not each.language for line in each.text.splitlines()]

    for line in lines:
        line = line.replace("tcp://10.0.0.1:8786", scheduler)
        if not line.startswith(("pip ", "make ")):
            code, _, said = await asyncio.to_thread(
                command, fast_emulator.base_url, *shlex.split(line, comments=True)[1:]
            )
            assert code == 0, f"{line}\n{said}"
    (example,) = (each.text.replace("tcp://10.0.0.1:8786", scheduler) for each in page if each.language == "python")
    await eval(compile(example, "docs/cluster.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), {})  # noqa: S307

    assert sorted(path.rpartition("/")[2] for path in files().glob("s3://shop/pictures/*.png")) == [
        "elk.png",
        "fox.png",
        "owl.png",
    ]
    assert fast_emulator.billed == 3
