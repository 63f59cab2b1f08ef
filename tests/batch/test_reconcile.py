"""Unknown outcomes and costs, settled with the provider's log."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from aimlapi_images import BatchError, ImageClient, InvalidRequestError
from aimlapi_images.batch import Reconciled, Status, reconcile, run_batch
from aimlapi_images.batch.store.state import State
from aimlapi_images.emulator import RunningEmulator
from batches import exported, jobs, query, run
from conftest import KEY, PIXEL_ANSWER


async def test_what_was_billed_is_priced_and_lost_and_the_rest_runs_again(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    fast_emulator.fail("dropped_after")
    await run(fast_client, jobs("billed"), tmp_path)
    fast_emulator.fail("dropped_before")
    await run(fast_client, jobs("billed", "unbilled"), tmp_path)
    fast_emulator.fail("null_fields")
    await run(fast_client, jobs("billed", "unbilled", "unpriced"), tmp_path)

    found = await reconcile(fast_client, tmp_path, grace=0)

    assert found == Reconciled(billed=1, usd=0.034, unbilled=1, priced=1)
    assert dict(query(tmp_path, "SELECT id, status FROM jobs")) == {
        "billed": "lost",
        "unbilled": "pending",
        "unpriced": "done",
    }
    assert query(tmp_path, "SELECT error_message FROM jobs WHERE id = 'billed'") == [
        ("it was billed, and its image is lost",)
    ]
    assert {line["id"]: line["usd"] for line in exported(tmp_path)} == {
        "billed": 0.034,
        "unbilled": None,
        "unpriced": 0.034,
    }
    ran = await run(fast_client, None, tmp_path)
    assert ran.statuses == {"unbilled": "done"}
    assert ran.ended.spent_usd == fast_emulator.stats.usd
    assert ran.ended.unpriced == 0
    assert await reconcile(fast_client, tmp_path) == Reconciled()


async def test_what_the_log_does_not_list_yet_stays_open(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    fast_emulator.configure(log_delay=1_000_000.0)
    fast_emulator.fail("dropped_after")
    await run(fast_client, jobs("a"), tmp_path)

    found = await reconcile(fast_client, tmp_path)

    assert (found.open, found.billed, found.unbilled) == (1, 0, 0)
    assert found.next is not None
    assert timedelta(minutes=14) < found.next - datetime.now(UTC) <= timedelta(minutes=15)
    assert query(tmp_path, "SELECT status FROM jobs") == [("unknown",)]


@pytest.mark.parametrize("days", [-3, 3])
async def test_a_clock_that_was_wrong_when_it_was_sent_does_not_hide_it(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path, days: int
) -> None:
    fast_emulator.fail("dropped_after")
    await run(fast_client, jobs("a"), tmp_path)
    sent = datetime.now(UTC) + timedelta(days=days)
    with sqlite3.connect(tmp_path / "batch.sqlite") as store:
        store.execute("UPDATE attempts SET sent = ?", (sent.strftime("%Y-%m-%dT%H:%M:%SZ"),))
    store.close()

    assert (await reconcile(fast_client, tmp_path)).billed == 1


async def test_an_attempt_that_is_older_than_the_log_reaches_is_never_taken_for_unbilled(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    fast_emulator.fail("dropped_after")
    await run(fast_client, jobs("a"), tmp_path)
    fast_emulator.reset()  # the log has forgotten it
    sent = datetime.now(UTC) - timedelta(days=100)
    with sqlite3.connect(tmp_path / "batch.sqlite") as store:
        store.execute("UPDATE attempts SET sent = ?", (sent.strftime("%Y-%m-%dT%H:%M:%SZ"),))
    store.close()

    found = await reconcile(fast_client, tmp_path)

    assert (found.open, found.unbilled) == (1, 0)
    assert query(tmp_path, "SELECT status FROM jobs") == [("unknown",)]


async def test_an_attempt_that_the_log_lists_as_running_stays_open(tmp_path: Path) -> None:
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            sent.append(request.headers["x-client-request-id"])
            raise httpx.ReadError("gone")
        return httpx.Response(200, json={"data": [{"client_request_id": sent[0], "status": "running"}]})

    async with ImageClient(KEY, transport=httpx.MockTransport(answer)) as client:
        await run(client, jobs("a"), tmp_path)
        found = await reconcile(client, tmp_path, grace=0)

    assert (found.open, found.unbilled, found.billed) == (1, 0, 0)


async def test_attempts_of_a_killed_run_are_settled_without_another_run(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    fast_emulator.fail("dropped_after")
    await run(fast_client, jobs("a"), tmp_path)
    with sqlite3.connect(tmp_path / "batch.sqlite") as store:
        store.execute("UPDATE attempts SET outcome = 'sent'")
        store.execute("UPDATE jobs SET status = 'sent'")
    store.close()

    assert (await reconcile(fast_client, tmp_path)).billed == 1
    assert query(tmp_path, "SELECT status FROM jobs") == [("lost",)]


async def test_long_logs_are_read_slowly_and_until_all_is_found(tmp_path: Path) -> None:
    sent: list[str] = []
    pages: list[int] = []
    waits: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            sent.append(request.headers["x-client-request-id"])
            raise httpx.ReadError("gone")
        offset = int(request.url.params["offset"])
        pages.append(offset)
        rows: list[dict[str, Any]] = [{"client_request_id": f"other.{n}", "status": "succeeded"} for n in range(100)]
        if offset == 300:
            rows[50] = {"client_request_id": sent[0], "status": "succeeded", "cost": {"credits": 200, "usd": 0.0001}}
        if offset == 200:
            rows[50] = {"client_request_id": sent[0], "status": "running"}
        return httpx.Response(200, json={"data": rows, "pagination": {"has_more": True}})

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with ImageClient(KEY, transport=httpx.MockTransport(answer)) as client:
        await run(client, jobs("a"), tmp_path)
        found = await reconcile(client, tmp_path, sleep=sleep)

    assert found == Reconciled(billed=1, usd=0.0001)
    assert pages == [0, 100, 200, 300]
    assert waits == [0.35] * 3  # 200 requests a minute are allowed


async def test_an_image_that_the_log_calls_failed_cost_nothing(tmp_path: Path) -> None:
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            sent.append(request.headers["x-client-request-id"])
            return httpx.Response(200, json=PIXEL_ANSWER)
        row = {"client_request_id": sent[0], "status": "failed", "cost": {"credits": 0, "usd": 0.0}}
        return httpx.Response(200, json={"data": [row]})

    async with ImageClient(KEY, transport=httpx.MockTransport(answer)) as client:
        await run(client, jobs("a"), tmp_path)
        found = await reconcile(client, tmp_path)

    assert found == Reconciled(priced=1)
    assert query(tmp_path, "SELECT status, usd FROM results") == [("done", 0.0)]


async def test_a_folder_without_a_batch_or_in_use_is_refused(fast_client: ImageClient, tmp_path: Path) -> None:
    with pytest.raises(BatchError, match=r"is not the folder of a batch: there is no batch\.sqlite in it"):
        await reconcile(fast_client, tmp_path)
    with pytest.raises(InvalidRequestError, match="grace must be a number"):
        await reconcile(fast_client, tmp_path, grace=-1)
    async for _ in run_batch(fast_client, jobs("a"), out=tmp_path):
        with pytest.raises(BatchError, match="another run uses"):
            await reconcile(fast_client, tmp_path)


def test_an_unknown_job_without_an_attempt_is_sent() -> None:
    with closing(State(None)) as state:
        state.add_job("a", "a", 1, "{}", "{}", 1)
        state.change_job(1, status=Status.UNKNOWN)

        state.settle_jobs()

        assert state.counts(1) == {"pending": 1}
