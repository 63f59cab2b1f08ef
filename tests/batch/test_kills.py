"""The command, killed at random moments and resumed: nothing is paid for twice without being listed."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from aimlapi_images import emulator
from aimlapi_images.emulator import FAULTS, Meaning, RunningEmulator
from batches import command, query, start

# Those that stop a batch, or only take time, are left out.
WITHOUT = ("out_of_credits", "free_tier", "maintenance", "slow_drip", "slow_image_host")
RATES = {kind: 0.02 for kind in FAULTS if kind not in WITHOUT}


def wait_for(running: RunningEmulator, received: int, process: subprocess.Popen[str]) -> None:
    """Wait until the emulator has received so many more orders, or the process has ended."""
    wanted = running.stats.received + received
    while running.stats.received < wanted and process.poll() is None:
        time.sleep(0.005)


def test_a_batch_that_is_killed_again_and_again_pays_once(tmp_path: Path) -> None:
    dice = random.Random(5)  # noqa: S311
    out, number = tmp_path / "out", 200
    (tmp_path / "jobs.txt").write_text("".join(f"A fox, number {each}\n" for each in range(number)))
    settings: dict[str, Any] = {"latency": 10.0, "retry_after": 0.1, "account_rpm": 100_000}
    with emulator.serve(drawing="plain", time_scale=100.0, faults=RATES, **settings) as running:
        url, batch = running.base_url, ("batch", tmp_path / "jobs.txt", "--out", out, "--no-gallery")
        for _ in range(5):
            with start(url, *batch, "--quiet") as process:
                wait_for(running, dice.randrange(1, 50), process)
                time.sleep(dice.uniform(0, 0.1))
                process.kill()
                process.communicate()
        for _ in range(10):
            code, _, said = command(url, *batch, "--retry-lost", "--retry-refused", "--quiet")
            settled, shown, _ = command(url, "reconcile", out, "--grace", "0")
            assert settled == 0, shown
            running.configure(faults={})
            if code == 0:
                break
        assert code == 0, said
        billed, usd = running.billed, running.stats.usd

    files = query(out, "SELECT file, sha256 FROM results WHERE status = 'done'")
    assert len(files) == number
    assert all(hashlib.sha256((out / path).read_bytes()).hexdigest() == digest for path, digest in files)
    # All that was paid for more than once is listed as an attempt without an image.
    paid = dict(
        query(out, "SELECT outcome, count(*) FROM attempts WHERE outcome IN ('generated', 'billed') GROUP BY 1")
    )
    lost = paid.get("billed", 0) + paid["generated"] - number
    assert billed == number + lost
    assert lost > 0
    (state_usd,) = query(out, "SELECT round(sum(usd), 6) FROM attempts")[0]
    assert state_usd == usd
    assert query(out, "SELECT count(*) FROM attempts WHERE outcome IN ('sent', 'unknown')") == [(0,)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_prints_how_to_go_on(
    fast_emulator: RunningEmulator, tmp_path: Path, number: signal.Signals
) -> None:
    fast_emulator.configure(latency=50.0)
    (tmp_path / "jobs.txt").write_text("".join(f"A fox, number {each}\n" for each in range(100)))
    batch = ("batch", str(tmp_path / "jobs.txt"), "--out", str(tmp_path / "out"))

    with start(fast_emulator.base_url, *batch) as process:
        wait_for(fast_emulator, 5, process)
        process.send_signal(number)
        shown, said = process.communicate(timeout=60)

    assert process.returncode == 5, said
    assert f"to go on: aimlapi-images {' '.join(batch)}" in said
    assert f"to go on: aimlapi-images {' '.join(batch)}" in shown
    done = query(tmp_path / "out", "SELECT count(*) FROM jobs WHERE status = 'done'")[0][0]
    assert done == fast_emulator.billed < 100
    assert f"{100 - done} still to be sent" in shown


def test_a_second_signal_stops_at_once_and_the_folder_resumes(fast_emulator: RunningEmulator, tmp_path: Path) -> None:
    fast_emulator.configure(latency=2000.0)
    (tmp_path / "jobs.txt").write_text("".join(f"A fox, number {each}\n" for each in range(100)))
    batch = ("batch", tmp_path / "jobs.txt", "--out", tmp_path / "out")

    with start(fast_emulator.base_url, *batch) as process:
        wait_for(fast_emulator, 5, process)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
    fast_emulator.configure(latency=0.0)
    code, _, _ = command(fast_emulator.base_url, *batch)

    assert process.returncode == 5
    assert "stopped; to go on: aimlapi-images batch" in said
    assert "Traceback" not in said
    assert code == 1
    counts = dict(query(tmp_path / "out", "SELECT status, count(*) FROM jobs GROUP BY 1"))
    assert counts["unknown"] >= 5
    assert counts["done"] == 100 - counts["unknown"]


def test_every_kind_of_fault_but_a_few_is_tried() -> None:
    assert {FAULTS[kind].meaning for kind in RATES} == set(Meaning)
