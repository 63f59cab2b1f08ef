"""`run_batch` against an emulator on a real port: what is made, what is made again, and what is not."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from aimlapi_images import (
    BatchError,
    Budget,
    ImageClient,
    InvalidRequestError,
    RetryPolicy,
    errors,
    mask_from_box,
)
from aimlapi_images.batch import BatchEnded, BatchStarted, JobEnded, Status, Throttled, results, run_batch, workers
from aimlapi_images.batch.store import folder
from aimlapi_images.emulator import RunningEmulator
from batches import exported, jobs, query, run
from conftest import KEY, PIXEL_ANSWER, Script


async def in_flight(running: RunningEmulator, number: int) -> None:
    """Wait until the emulator works on that many orders."""
    while running.stats.in_flight < number:  # noqa: ASYNC110 - it runs in another thread
        await asyncio.sleep(0.01)


async def test_each_job_is_made_once_and_described(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    wanted = [{"id": "fox", "prompt": "A fox", "size": "1536x1024", "metadata": {"sku": 7}}, {"prompt": "An owl"}]

    ran = await run(fast_client, wanted, tmp_path / "out", defaults={"quality": "low"})

    fox = ran.results["fox"]
    assert (fox.status, fox.file, fox.line, fox.prompt) == (Status.DONE, "fox.png", 1, "A fox")
    assert fox.parameters == {"model": "openai/gpt-image-1-5", "size": "1536x1024", "quality": "low"}
    assert (fox.carried, fox.format, fox.width, fox.height) == ({"sku": 7}, "png", 1536, 1024)
    assert (fox.credits, fox.usd, fox.attempts) == (26_000, 0.013, 1)
    assert (tmp_path / "out" / "fox.png").stat().st_size == fox.bytes
    assert fast_emulator.billed == 2
    assert ran.ended.counts == {Status.DONE: 2}
    assert (ran.ended.spent_usd, ran.ended.unpriced, ran.ended.stopped) == (0.022, 0, None)
    assert {line["id"]: line["status"] for line in exported(tmp_path / "out")} == dict.fromkeys(ran.results, "done")


async def test_the_event_loop_goes_on_while_the_results_are_written(
    fast_client: ImageClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, write = asyncio.get_running_loop(), results.write_results

    def after_a_turn_of_the_loop(*arguments: Any) -> None:
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(timeout=20)
        write(*arguments)

    monkeypatch.setattr(workers, "write_results", after_a_turn_of_the_loop)
    await run(fast_client, ["fox"], tmp_path)

    assert len(exported(tmp_path)) == 1


async def test_a_batch_that_is_cancelled_at_its_end_still_sums_up(
    fast_client: ImageClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, write = asyncio.get_running_loop(), results.write_results

    async def cancel() -> None:
        batch.cancel()
        for _ in range(10):  # turns of the loop, in which the batch is told
            await asyncio.sleep(0)

    def after_being_cancelled(*arguments: Any) -> None:
        for _ in range(2):
            asyncio.run_coroutine_threadsafe(cancel(), loop).result(timeout=20)
        write(*arguments)

    monkeypatch.setattr(workers, "write_results", after_being_cancelled)
    events: list[Any] = []

    async def consume() -> None:
        async for _ in run_batch(fast_client, ["fox"], out=tmp_path, progress=events.append):
            pass

    batch = asyncio.create_task(consume())
    with pytest.raises(asyncio.CancelledError):
        await batch

    assert [event.counts for event in events if isinstance(event, BatchEnded)] == [{Status.DONE: 1}]
    assert len(exported(tmp_path)) == 1


async def test_a_finished_batch_sends_nothing_when_it_is_run_again(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    await run(fast_client, jobs("a", "b"), tmp_path)

    again = await run(fast_client, jobs("a", "b", "c"), tmp_path)

    assert again.statuses == {"c": "done"}
    assert (again.started.todo, again.started.counts) == (1, {Status.DONE: 2, Status.PENDING: 1})
    assert fast_emulator.billed == 3
    assert {line["id"] for line in exported(tmp_path)} == {"a", "b", "c"}


async def test_stored_jobs_are_carried_on_without_their_file(fast_client: ImageClient, tmp_path: Path) -> None:
    await run(fast_client, jobs("a", "b", "c"), tmp_path, limit=1)

    ran = await run(fast_client, None, tmp_path)

    assert ran.statuses == {"b": "done", "c": "done"}
    with pytest.raises(InvalidRequestError, match="no jobs of an earlier run"):
        await run(fast_client, None, tmp_path / "other")


async def test_a_missing_file_is_fetched_and_a_changed_one_kept_aside(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    first = await run(fast_client, jobs("a", "b", "c", "d"), tmp_path)
    (tmp_path / "a.png").unlink()
    (tmp_path / "b.png").write_bytes(b"mine")
    os.utime(tmp_path / "c.png", (0, 0))  # only touched

    again = await run(fast_client, jobs("a", "b", "c", "d"), tmp_path)

    assert again.statuses == {"a": "done", "b": "done"}
    assert again.results["a"].sha256 == first.results["a"].sha256
    assert (tmp_path / "b~changed-1.png").read_bytes() == b"mine"
    assert again.notices == [
        "a.png is missing: it is fetched or made again",
        "b.png has changed: it is fetched or made again, and the other is kept as b~changed-1.png",
    ]
    assert fast_emulator.billed == 4


async def test_a_missing_file_whose_url_has_expired_is_made_again(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    await run(fast_client, jobs("a"), tmp_path)
    (tmp_path / "a.png").unlink()
    fast_emulator.reset()  # which forgets the image

    again = await run(fast_client, jobs("a"), tmp_path)

    assert again.statuses == {"a": "done"}
    assert (again.results["a"].attempts, fast_emulator.billed) == (2, 1)


async def test_files_of_the_same_size_and_time_are_read_only_on_request(
    fast_client: ImageClient, tmp_path: Path
) -> None:
    await run(fast_client, jobs("a"), tmp_path)
    path = tmp_path / "a.png"
    time, data = path.stat().st_mtime_ns, path.read_bytes()
    path.write_bytes(data[:-1] + b"\0")
    os.utime(path, ns=(time, time))

    assert (await run(fast_client, jobs("a"), tmp_path)).statuses == {}
    assert (await run(fast_client, jobs("a"), tmp_path, verify=True)).statuses == {"a": "done"}
    assert path.read_bytes() == data


async def test_nothing_is_sent_if_a_job_is_invalid(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    wanted = [{"prompt": "fine"}, {"prompt": ""}, {"prompt": "x", "size": "1x1"}, {"prompt": "x", "wrong": 1}, "a", 7]

    with pytest.raises(InvalidRequestError) as caught:
        await run(fast_client, wanted, tmp_path)

    assert str(caught.value).startswith("4 of 6 jobs are invalid, so that none was sent. line 2: prompt")
    assert re.findall(r"line \d", str(caught.value)) == ["line 2", "line 3", "line 4", "line 6"]
    assert fast_emulator.stats.received == 0
    assert query(tmp_path, "SELECT * FROM jobs") == []
    skipped = await run(fast_client, wanted, tmp_path, skip_invalid=True)
    assert set(skipped.statuses.values()) == {"done"}
    assert len(skipped.results) == 2
    assert sum("skipped: line" in notice for notice in skipped.notices) == 4


async def test_the_first_problems_of_many_are_shown(fast_client: ImageClient, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"30 of 30 jobs are invalid.*; line 10: .*; and 20 more$"):
        await run(fast_client, [{"prompt": ""}] * 30, tmp_path)


async def test_a_duplicate_is_made_once_and_reported(fast_client: ImageClient, tmp_path: Path) -> None:
    ran = await run(fast_client, ["A fox", "An owl", "A fox"], tmp_path)

    assert len(ran.results) == 2
    (notice,) = ran.notices
    assert notice.startswith("line 3 has the id of line 1 (a-fox-")
    assert notice.endswith("and the same content: it is made once")


async def test_one_id_for_two_contents_is_invalid(fast_client: ImageClient, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"line 2: line 2 has the id of line 1 \(a\) but another content"):
        await run(fast_client, [{"id": "a", "prompt": "1"}, {"id": "a", "prompt": "2"}], tmp_path)


async def test_changed_parameters_are_reported_and_never_change_what_is_paid_for(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    fast_emulator.fail("content_policy")
    await run(fast_client, jobs("a", "b", "c"), tmp_path, limit=2)
    statuses = dict(query(tmp_path, "SELECT id, status FROM jobs"))
    assert sorted(statuses.values()) == ["done", "pending", "refused"]

    again = await run(fast_client, jobs("a", "b", "c", quality="low"), tmp_path)

    done = next(id_ for id_, status in statuses.items() if status == "done")
    assert set(again.results) == {"a", "b", "c"} - {done}
    assert all(result.parameters["quality"] == "low" for result in again.results.values())
    assert f"the parameters of {done} have changed, but it is done with the old ones, and stays so" in "".join(
        again.notices
    )


async def test_refused_jobs_wait_for_a_flag_and_failed_ones_do_not(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    fast_emulator.fail("content_policy")
    await run(fast_client, jobs("refused"), tmp_path)
    fast_emulator.fail("server_error", times=4)
    first = await run(fast_client, jobs("refused", "failed"), tmp_path)

    second = await run(fast_client, jobs("refused", "failed"), tmp_path)
    third = await run(fast_client, jobs("refused", "failed"), tmp_path, retry_refused=True)

    assert first.statuses == {"failed": "failed"}
    assert (first.results["failed"].error_class, first.results["failed"].attempts) == ("ServerError", 4)
    assert second.statuses == {"failed": "done"}
    assert third.statuses == {"refused": "done"}
    assert third.results["refused"].error_message is None


async def test_an_unknown_outcome_is_listed_and_not_sent_again(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    fast_emulator.fail("dropped_after")
    first = await run(fast_client, jobs("a"), tmp_path)

    again = await run(fast_client, jobs("a"), tmp_path, retry_lost=True, retry_refused=True)

    assert first.statuses == {"a": "unknown"}
    assert again.statuses == {}
    assert (again.ended.counts, again.ended.unpriced) == ({Status.UNKNOWN: 1}, 1)
    assert again.ended.reasons[0][:2][0] == "unknown"
    assert "RemoteProtocolError" in again.ended.reasons[0][1]
    assert fast_emulator.billed == 1


async def test_a_paid_image_that_could_not_be_fetched_is_fetched_by_the_next_run(
    fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    broken = httpx.MockTransport(lambda request: httpx.Response(503))
    policy = RetryPolicy(attempts=1)
    async with ImageClient(KEY, base_url=fast_emulator.base_url, download_transport=broken, retry=policy) as client:
        first = await run(client, jobs("a"), tmp_path)
        second = await run(client, jobs("a"), tmp_path)
    async with ImageClient(KEY, base_url=fast_emulator.base_url) as client:
        third = await run(client, jobs("a"), tmp_path)

    assert first.statuses == second.statuses == {"a": "generated"}
    assert len(first.results["a"].urls) == 1
    assert third.statuses == {"a": "done"}
    assert third.results["a"].usd == 0.034
    assert fast_emulator.billed == 1


async def test_an_image_whose_url_has_expired_is_lost_until_it_is_asked_for(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    fast_emulator.fail("expired_url")
    first = await run(fast_client, jobs("a"), tmp_path)
    second = await run(fast_client, jobs("a"), tmp_path)
    third = await run(fast_client, jobs("a"), tmp_path)
    billed = fast_emulator.billed

    fourth = await run(fast_client, jobs("a"), tmp_path, retry_lost=True)

    assert (first.statuses, second.statuses, third.statuses) == ({"a": "generated"}, {"a": "lost"}, {})
    assert billed == 1
    assert fourth.statuses == {"a": "done"}
    assert (fourth.results["a"].usd, fourth.results["a"].attempts) == (0.068, 2)


async def test_broken_bytes_that_are_paid_for_are_kept(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    fast_emulator.fail("truncated_image")

    ran = await run(fast_client, jobs("a"), tmp_path)

    assert ran.statuses == {"a": "unknown"}
    assert ran.results["a"].error_class == "DecodeError"
    assert (tmp_path / "a~broken.bin").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("fault", ["out_of_credits", "free_tier"])
async def test_a_fatal_error_stops_new_jobs_and_lets_paid_ones_arrive(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path, fault: str
) -> None:
    fast_emulator.configure(latency=10.0)
    wanted = jobs(*(f"job-{number}" for number in range(100)))

    with pytest.raises(errors.APIStatusError) as caught:
        await run(fast_client, wanted, tmp_path, each=lambda: fast_emulator.fail(fault))

    ran = caught.value.ran  # type: ignore[attr-defined]
    assert set(ran.statuses.values()) == {"done"}
    assert ran.ended.stopped == str(caught.value)
    assert ran.counts["done"] == fast_emulator.billed == fast_emulator.stats.accepted
    assert ran.counts["pending"] == 100 - fast_emulator.billed
    assert fast_emulator.billed < 60


async def test_the_budget_of_the_client_stops_the_batch(fast_emulator: RunningEmulator, tmp_path: Path) -> None:
    async with ImageClient(KEY, base_url=fast_emulator.base_url, budget=Budget(usd=0.11)) as client:
        with pytest.raises(errors.BudgetExceededError):
            await run(client, jobs(*"abcdefgh"), tmp_path)

    assert fast_emulator.billed == 3
    assert sorted(query(tmp_path, "SELECT status, count(*) FROM jobs GROUP BY 1")) == [("done", 3), ("pending", 5)]


async def test_an_api_that_is_down_stops_the_batch(fast_emulator: RunningEmulator, tmp_path: Path) -> None:
    fast_emulator.configure(faults={"server_error": 1.0})
    policy = RetryPolicy(attempts=1)
    async with ImageClient(KEY, base_url=fast_emulator.base_url, retry=policy, max_concurrency=2) as client:
        with pytest.raises(BatchError, match="20 jobs failed one after the other, the last one with: HTTP 500"):
            await run(client, [f"fox {number}" for number in range(200)], tmp_path)

    assert 20 <= fast_emulator.stats.accepted <= 24


async def test_a_limit_and_a_random_order(fast_client: ImageClient, tmp_path: Path) -> None:
    names = [f"{number:03}" for number in range(200)]

    first = await run(fast_client, jobs(*names), tmp_path, limit=10, order="random")

    assert len(first.results) == 10
    assert sorted(first.results) != names[:10]
    assert first.ended.counts == {Status.DONE: 10, Status.PENDING: 190}


async def test_a_stop_drains(fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path) -> None:
    fast_emulator.configure(latency=5.0)
    stop = asyncio.Event()
    done = []
    async for result in run_batch(fast_client, [f"fox {n}" for n in range(200)], out=tmp_path, stop=stop):
        done.append(result.status)
        stop.set()

    assert set(done) == {Status.DONE}
    assert len(done) == fast_emulator.billed < 100
    assert query(tmp_path, "SELECT stopped FROM runs") == [("stopped",)]


async def test_a_closed_iteration_drains_too(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    fast_emulator.configure(latency=5.0)
    batch = run_batch(fast_client, [f"fox {number}" for number in range(200)], out=tmp_path)
    await anext(batch)
    await batch.aclose()  # type: ignore[attr-defined]

    counts = dict(query(tmp_path, "SELECT status, count(*) FROM jobs GROUP BY 1"))
    assert counts == {"done": fast_emulator.billed, "pending": 200 - fast_emulator.billed}


async def test_a_cancelled_batch_lists_what_may_be_billed(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    fast_emulator.configure(latency=1000.0)
    task = asyncio.create_task(run(fast_client, jobs(*"abc"), tmp_path))
    await in_flight(fast_emulator, 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    again = await run(fast_client, jobs(*"abc"), tmp_path)

    assert again.ended.counts == {Status.UNKNOWN: 3}
    assert again.ended.reasons == [(Status.UNKNOWN, "BatchError: the run ended while the request was open", 3)]
    assert again.results == {}


async def test_a_slow_reader_loses_nothing(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    seen: list[str] = []
    async for result in run_batch(fast_client, [f"fox {number}" for number in range(150)], out=tmp_path):
        if not seen:
            await asyncio.sleep(1.0)
            assert fast_emulator.billed < 120  # bounded, although the images are made in no time
        seen.append(result.id)

    assert len(set(seen)) == 150


async def test_images_are_edited(fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), "red").save(tmp_path / "cat.png")
    mask_from_box(tmp_path / "cat.png", (10, 10, 50, 50)).save(tmp_path / "hole.png")
    (tmp_path / "jobs.csv").write_text("id,prompt,image,mask\n1,in space,cat.png,hole.png\n2,at sea,cat.png,\n")

    ran = await run(fast_client, tmp_path / "jobs.csv", tmp_path / "out")

    assert ran.statuses == {"1": "done", "2": "done"}
    assert ran.results["1"].parameters["image"] == str(tmp_path / "cat.png")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"image": "none.png"}, "cannot be read"),
        ({"mask": "cat.png"}, "a mask needs an image"),
        ({"image": "cat.png", "mask": "cat.png"}, "mask"),
        ({"image": "cat.png", "size": "1x1"}, "size"),
    ],
)
async def test_an_edit_is_checked_before_anything_is_sent(
    fast_client: ImageClient, tmp_path: Path, fields: dict[str, Any], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (300, 200), "red").save(tmp_path / "cat.png")

    with pytest.raises(InvalidRequestError, match=problem):
        await run(fast_client, jobs("a", **fields), tmp_path / "out")


async def test_an_edit_whose_image_changed_is_not_sent(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    Image.new("RGB", (300, 200), "red").save(tmp_path / "cat.png")
    wanted = jobs("a", "b", image=str(tmp_path / "cat.png"))
    await run(fast_client, wanted, tmp_path / "out", limit=1)
    (tmp_path / "cat.png").unlink()

    ran = await run(fast_client, None, tmp_path / "out")

    assert ran.statuses == {"b": "refused"}
    assert "cat.png cannot be read" in str(ran.results["b"].error_message)
    assert fast_emulator.billed == 1


async def test_a_job_with_several_images_has_several_files(tmp_path: Path) -> None:
    answer = {"data": PIXEL_ANSWER["data"] * 2, "meta": {"usage": {"credits_used": 10}}}
    async with ImageClient(KEY, transport=Script(httpx.Response(200, json=answer)).transport) as client:
        ran = await run(client, [{"id": "fox", "prompt": "x", "n": 2, "model": "acme/new"}], tmp_path)
        again = await run(client, None, tmp_path)

    assert ran.results["fox"].file == "fox~1.png"
    assert query(tmp_path, "SELECT number, path FROM files") == [(1, "fox~1.png"), (2, "fox~1-2.png")]
    assert again.results == {}


async def test_progress_is_told(fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path) -> None:
    fast_emulator.fail("rate_limited", times=3)

    ran = await run(fast_client, jobs(*"abcdef"), tmp_path)

    kinds = [type(event) for event in ran.events]
    assert kinds[0] is BatchStarted
    assert kinds.count(JobEnded) == 6
    assert Throttled in kinds


async def test_an_error_of_the_progress_callback_is_raised_after_a_drain(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    def progress(event: object) -> None:
        if isinstance(event, JobEnded):
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        async for _ in run_batch(fast_client, jobs(*"abcdef"), out=tmp_path, progress=progress):
            pass

    assert query(tmp_path, "SELECT count(*) FROM jobs WHERE status = 'done'") == [(fast_emulator.billed,)]


@pytest.mark.parametrize(
    "options",
    [{"limit": 0}, {"order": "backwards"}, {"skip_invalid": 1}, {"defaults": 5}, {"out": 5}, {"out": b"x"}],
)
async def test_invalid_arguments_are_refused(fast_client: ImageClient, tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        async for _ in run_batch(fast_client, ["x"], **{"out": tmp_path, **options}):
            pass


async def test_the_key_is_in_no_file_of_the_batch(fast_client: ImageClient, tmp_path: Path) -> None:
    await run(fast_client, jobs("a"), tmp_path)

    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.iterdir())


async def test_refusals_in_a_row_stop_nothing(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    fast_emulator.configure(faults={"content_policy": 1.0})

    ran = await run(fast_client, [f"fox {number}" for number in range(60)], tmp_path)

    assert list(ran.statuses.values()) == ["refused"] * 60


@pytest.mark.parametrize("fault", ["proxy_timeout", "expired_url"])
async def test_paid_orders_without_an_image_stop_the_batch(
    fast_emulator: RunningEmulator, tmp_path: Path, fault: str
) -> None:
    fast_emulator.configure(faults={fault: 1.0})
    policy = RetryPolicy(attempts=1)
    async with ImageClient(KEY, base_url=fast_emulator.base_url, retry=policy, max_concurrency=2) as client:
        with pytest.raises(BatchError, match="20 jobs failed one after the other"):
            await run(client, [f"fox {number}" for number in range(200)], tmp_path)

    assert 20 <= fast_emulator.billed <= 24


async def test_an_answer_cannot_name_a_file_of_this_machine(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    Image.new("RGB", (3, 3)).save(secret)
    script = Script(httpx.Response(200, json={"data": [{"url": secret.as_uri()}]}))
    async with ImageClient(KEY, transport=script.transport, retry=RetryPolicy(attempts=1)) as client:
        first = await run(client, jobs("a"), tmp_path / "out")
        second = await run(client, jobs("a"), tmp_path / "out")

    assert (first.statuses, second.statuses) == ({"a": "generated"}, {"a": "lost"})
    assert secret.exists()
    assert not list((tmp_path / "out").glob("*.png"))


async def test_a_folder_of_a_thousand_images_is_made_again_if_it_is_removed(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "_PER_FOLDER", 2)
    first = await run(fast_client, jobs(*"abcde"), tmp_path)
    shutil.rmtree(tmp_path / "0001")

    again = await run(fast_client, jobs(*"abcde"), tmp_path)

    assert [first.results[id_].file for id_ in "abcde"] == ["a.png", "b.png", "0001/c.png", "0001/d.png", "0002/e.png"]
    assert again.statuses == {"c": "done", "d": "done"}
    assert fast_emulator.billed == 5
