"""What a batch survives: full disks, folders that vanish, damaged states, few files, clocks and pauses."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from aimlapi_images import BatchError, ImageClient
from aimlapi_images.batch import making, run_batch
from aimlapi_images.batch.store import database, state
from aimlapi_images.batch.store import folder as store_folder
from aimlapi_images.dispatch import delivery
from aimlapi_images.emulator import RunningEmulator
from aimlapi_images.media import files
from batches import command, jobs, query, run, start
from conftest import KEY

TEN = jobs(*(f"job-{number}" for number in range(10)))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder, where paid images and states are rescued to."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(making, "_SAVE_AGAIN_AFTER", (0.0,))
    return folder


class FullDisk:
    """Makes writes of image files fail as on a full disk, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.full = True
        self._folder, self._whole_file = folder, files.whole_file

    def whole_file(self, target: Path, *, overwrite: bool = False) -> Any:
        if self.full and target.is_relative_to(self._folder):
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return self._whole_file(target, overwrite=overwrite)


@pytest.mark.parametrize("response_format", ["url", "b64_json"])
async def test_paid_images_are_kept_elsewhere_if_the_disk_is_full(
    fast_client: ImageClient,
    fast_emulator: RunningEmulator,
    tmp_path: Path,
    elsewhere: Path,
    response_format: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    disk = FullDisk(out)
    monkeypatch.setattr(files, "whole_file", disk.whole_file)
    defaults = {"response_format": response_format}

    with pytest.raises(BatchError, match=r"job-\d cannot be written \(.*No space left.*\); the image is kept"):
        await run(fast_client, TEN, out, defaults=defaults)
    billed = fast_emulator.billed
    kept = list(elsewhere.glob("*/image.png"))
    with pytest.raises(BatchError, match=r"No space left|cannot be written"):  # still full
        await run(fast_client, TEN, out, defaults=defaults, limit=1)
    disk.full = False
    ran = await run(fast_client, TEN, out, defaults=defaults)

    assert len(kept) == billed
    assert set(ran.statuses.values()) == {"done"}
    assert query(out, "SELECT count(*) FROM jobs WHERE status = 'done'") == [(10,)]
    assert fast_emulator.billed == 10
    assert list(elsewhere.iterdir()) == []


async def test_an_image_that_can_be_saved_a_moment_later_is(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path, elsewhere: Path, monkeypatch: Any
) -> None:
    def full(path: Path, data: bytes, *, overwrite: bool) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(delivery, "write_whole", full)  # not that of `GeneratedImage.save`

    ran = await run(fast_client, TEN, tmp_path / "out")

    assert set(ran.statuses.values()) == {"done"}
    assert fast_emulator.billed == 10


async def test_a_state_that_cannot_be_written_stops_the_batch_before_anything_is_sent(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(state.State, "attempt_starts", fail)

    with pytest.raises(BatchError, match=r"batch\.sqlite cannot be used: disk I/O error"):
        await run(fast_client, TEN, tmp_path)

    assert fast_emulator.stats.received == 0
    assert query(tmp_path, "SELECT DISTINCT status FROM jobs") == [("pending",)]


def test_the_space_kept_for_a_full_disk_is_used_when_it_is_full(tmp_path: Path) -> None:
    store = state.State(tmp_path / "batch.sqlite", reserve=True)
    tries: list[int] = []

    def work() -> None:
        tries.append((tmp_path / "batch.reserve").stat().st_size)
        if len(tries) < 3:
            store.db.execute("PRAGMA max_page_count = 1")
            store.db.execute("CREATE TABLE big AS SELECT zeroblob(1000000) AS x")
        store.db.execute("PRAGMA max_page_count = 1000000")
        store.db.execute("CREATE TABLE small (x)")

    store.transaction(work)

    assert tries == [2**22, 2**22 - 2**16, 2**22 - 2**17]
    assert store.is_full
    assert store.db.execute("SELECT name FROM sqlite_master WHERE name IN ('big', 'small')").fetchall()[0][0] == "small"
    store.close()


# Runs in a mount namespace of its own, with a file system of 30 MB.
FULL_DISK = """
import json, os, pathlib, subprocess, sqlite3, sys
out = pathlib.Path(sys.argv[1]); ballast = out / "ballast"
batch = [*json.loads(sys.argv[2]), "batch", sys.argv[3], "--out", str(out), "--response-format", "b64_json"]
def run():
    done = subprocess.run(batch, capture_output=True, text=True)
    print(done.returncode, done.stdout, done.stderr)
    rows = sqlite3.connect(out / "batch.sqlite").execute("SELECT status, count(*) FROM jobs GROUP BY 1").fetchall()
    return done.returncode, dict(rows)
out.mkdir(exist_ok=True)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", str(out)], check=True)
ballast.write_bytes(bytes(24 * 2**20))
code, counts = run()
assert code == 5, (code, counts)
assert counts.get("unknown", 0) == counts.get("sent", 0) == counts.get("lost", 0) == 0, counts
assert counts["pending"] > 0, counts
ballast.unlink()
code, counts = run()
assert (code, counts) == (0, {"done": 200}), (code, counts)
"""


def test_a_disk_that_is_really_full_loses_nothing(fast_emulator: RunningEmulator, tmp_path: Path) -> None:
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    trial = [*unshare, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run(trial, capture_output=True).returncode:
        pytest.skip("needs user namespaces")
    (tmp_path / "jobs.txt").write_text("".join(f"fox {number}\n" for number in range(200)))
    environment = {**os.environ, "AIMLAPI_API_KEY": KEY, "AIMLAPI_API_BASE": fast_emulator.base_url}
    cli = json.dumps([sys.executable, "-c", "from aimlapi_images.cli import main; main()"])

    script = [sys.executable, "-c", FULL_DISK, str(tmp_path / "out"), cli, str(tmp_path / "jobs.txt")]
    done = subprocess.run([*unshare, *script], env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert fast_emulator.billed == 200


async def test_a_folder_that_is_removed_stops_the_batch_and_its_state_is_kept(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path, elsewhere: Path
) -> None:
    out = tmp_path / "out"
    wanted = [f"fox {number}" for number in range(100)]

    with pytest.raises(BatchError, match=r"was removed or replaced|cannot be written"):
        await run(fast_client, wanted, out, each=lambda: shutil.rmtree(out, ignore_errors=True))
    billed = fast_emulator.billed
    out.mkdir(exist_ok=True)
    (kept,) = elsewhere.glob("*/batch.sqlite")
    shutil.move(kept, out / "batch.sqlite")
    await run(fast_client, wanted, out)

    assert billed < 100
    assert fast_emulator.billed == 100
    assert query(out, "SELECT count(*) FROM jobs WHERE status IN ('done', 'unknown')") == [(100,)]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody may write")
async def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_sent(
    fast_client: ImageClient, fast_emulator: RunningEmulator
) -> None:
    for out in ("/proc/self/batch", "/proc/self"):
        with pytest.raises(BatchError, match=f"{out} cannot be used for a batch"):
            await run(fast_client, TEN, Path(out))

    assert fast_emulator.stats.received == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_read_only_folder_is_refused(fast_client: ImageClient, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(BatchError, match="cannot be used for a batch: Permission denied"):
            await run(fast_client, TEN, tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_a_process_with_few_open_files_finishes(fast_emulator: RunningEmulator, tmp_path: Path) -> None:
    fast_emulator.configure(latency=3.0)
    (tmp_path / "jobs.txt").write_text("".join(f"fox {number}\n" for number in range(80)))

    code, shown, said = command(
        fast_emulator.base_url,
        *("batch", tmp_path / "jobs.txt", "--out", tmp_path / "out", "--max-concurrency", 100),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    )

    assert (code, fast_emulator.billed) == (0, 80), shown + said


async def test_a_clock_that_is_set_back_changes_nothing(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(fast_client, TEN, tmp_path, limit=5)
    monkeypatch.setattr(state, "utc_now", lambda: "1999-12-31T23:59:59Z")

    ran = await run(fast_client, TEN, tmp_path)
    again = await run(fast_client, TEN, tmp_path)

    assert len(ran.results) == 5
    assert again.results == {}
    assert fast_emulator.billed == 10


def test_a_process_that_was_suspended_goes_on(fast_emulator: RunningEmulator, tmp_path: Path) -> None:
    fast_emulator.configure(latency=20.0)
    (tmp_path / "jobs.txt").write_text("".join(f"fox {number}\n" for number in range(60)))

    with start(fast_emulator.base_url, "batch", tmp_path / "jobs.txt", "--out", tmp_path / "out") as process:
        while fast_emulator.billed < 5:
            time.sleep(0.02)
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.0)
        process.send_signal(signal.SIGCONT)
        shown, said = process.communicate(timeout=60)

    assert (process.returncode, fast_emulator.billed) == (0, 60), shown + said


async def test_a_truncated_state_is_refused_and_says_what_to_do(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    await run(fast_client, [f"fox {number}" for number in range(50)], tmp_path)
    path = tmp_path / "batch.sqlite"
    os.truncate(path, path.stat().st_size // 2)

    with pytest.raises(BatchError, match=r"batch\.sqlite cannot be used: .*It is damaged; nothing was sent"):
        await run(fast_client, None, tmp_path)

    assert fast_emulator.billed == 50


@pytest.mark.parametrize("content", [b"", b"not a database, but text that is long enough to look like one" * 20])
async def test_an_empty_or_foreign_state_is_not_taken_for_a_new_batch(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path, content: bytes
) -> None:
    await run(fast_client, TEN, tmp_path)
    (tmp_path / "batch.sqlite").write_bytes(content)

    with pytest.raises(BatchError, match=r"has images, but no state of a batch|It is damaged"):
        await run(fast_client, TEN, tmp_path)

    assert fast_emulator.billed == 10


async def test_images_of_a_lost_state_count_as_made_on_request(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    await run(fast_client, TEN, tmp_path)
    (tmp_path / "batch.sqlite").unlink()
    (tmp_path / "job-3.png").unlink()

    ran = await run(fast_client, TEN, tmp_path, adopt=True)

    assert ran.statuses == {"job-3": "done"}
    assert fast_emulator.billed == 11
    (tmp_path / "batch.sqlite").unlink()
    (tmp_path / "job-3.png").write_bytes(b"no image")
    with pytest.raises(BatchError, match=r"job-3\.png is not an image"):
        await run(fast_client, TEN, tmp_path, adopt=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("CREATE TABLE mine (x)", "is not the state of a batch"),
        (
            "PRAGMA application_id = 0x41494D4C; PRAGMA user_version = 9",
            r"another version of this package",
        ),
    ],
)
async def test_a_database_of_another_program_is_refused(
    fast_client: ImageClient, tmp_path: Path, settings: str, message: str
) -> None:
    other = sqlite3.connect(tmp_path / "batch.sqlite")
    other.executescript(settings)
    other.close()

    with pytest.raises(BatchError, match=message):
        await run(fast_client, TEN, tmp_path)


async def test_a_state_that_is_replaced_while_it_is_used_stops_the_batch(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    wanted = [f"fox {number}" for number in range(100)]

    def replace() -> None:
        if not (tmp_path / "old").exists():
            (tmp_path / "batch.sqlite").rename(tmp_path / "old")
            shutil.copy(tmp_path / "old", tmp_path / "batch.sqlite")

    with pytest.raises(BatchError, match="was removed or replaced while it was used"):
        await run(fast_client, wanted, tmp_path, each=replace)

    assert fast_emulator.billed < 100


async def test_an_image_that_a_killed_run_had_no_time_to_record_is_found(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    await run(fast_client, TEN, tmp_path)
    with sqlite3.connect(tmp_path / "batch.sqlite") as store:
        store.execute("UPDATE jobs SET status = 'generated' WHERE id = 'job-4'")
        store.execute("DELETE FROM files WHERE path = 'job-4.png'")
    store.close()
    fast_emulator.reset()

    ran = await run(fast_client, None, tmp_path)

    assert ran.started.counts == {"done": 10}
    assert fast_emulator.stats.fetched == 0


async def test_two_runs_do_not_share_a_folder(fast_client: ImageClient, tmp_path: Path) -> None:
    async for _ in run_batch(fast_client, TEN, out=tmp_path):
        with pytest.raises(BatchError, match="another run uses"):
            await run(fast_client, TEN, tmp_path)


async def test_a_closed_client_fails_no_job(fast_emulator: RunningEmulator, tmp_path: Path) -> None:
    client = ImageClient(KEY, base_url=fast_emulator.base_url)
    with pytest.raises(BatchError, match=r"client (is|was) closed"):
        await run(client, [f"fox {number}" for number in range(200)], tmp_path, each=client.aclose)

    assert query(tmp_path, "SELECT count(*) FROM jobs WHERE status IN ('failed', 'refused')") == [(0,)]


def test_writes_that_wait_share_a_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = state.State(tmp_path / "batch.sqlite")
    sizes: list[int] = []
    transaction = store.transaction

    def counted(work: Any, **options: Any) -> Any:
        sizes.append(1)
        return transaction(work, **options)

    monkeypatch.setattr(store, "transaction", counted)

    async def main() -> list[int]:
        journal = database.Journal(store)
        results = await asyncio.gather(*(journal.write(lambda n=n: n) for n in range(500)))
        journal.close()
        return results

    assert asyncio.run(main()) == list(range(500))
    assert len(sizes) < 100
    store.close()


def test_a_write_that_fails_by_itself_fails_no_other(tmp_path: Path) -> None:
    store = state.State(tmp_path / "batch.sqlite")

    def unreadable() -> None:
        raise FileNotFoundError("gone")

    async def main() -> Any:
        journal = database.Journal(store)
        writes = (journal.write(store.set_bucket, "memory://one"), journal.write(unreadable))
        results = await asyncio.gather(*writes, return_exceptions=True)
        journal.close()
        return results

    nothing, error = asyncio.run(main())
    assert nothing is None
    assert isinstance(error, FileNotFoundError)
    assert store.bucket() == "memory://one"
    store.close()


async def test_an_image_that_goes_before_it_is_recorded_harms_no_other(
    fast_emulator: RunningEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe = store_folder.describe

    def gone(out: Path, path: Path, *details: Any) -> Any:
        if path.stem == "fox-3":
            path.unlink()
        return describe(out, path, *details)

    monkeypatch.setattr(store_folder, "describe", gone)
    async with ImageClient(KEY, base_url=fast_emulator.base_url) as client:
        with pytest.raises(BatchError, match="just written cannot be read"):
            await run(client, [{"id": f"fox-{number}", "prompt": "fox"} for number in range(8)], tmp_path)
    monkeypatch.undo()
    async with ImageClient(KEY, base_url=fast_emulator.base_url) as client:
        await run(client, [{"id": f"fox-{number}", "prompt": "fox"} for number in range(8)], tmp_path)

    assert query(tmp_path, "SELECT count(*) FROM jobs WHERE status = 'done'") == [(8,)]
