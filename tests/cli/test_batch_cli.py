"""The commands `batch`, `reconcile` and `results`."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from aimlapi_images import cli
from aimlapi_images.batch.store.folder import locked
from aimlapi_images.emulator import RunningEmulator
from batches import COMMAND
from conftest import KEY


@pytest.fixture(autouse=True)
def _in_a_folder_with_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast_emulator: RunningEmulator) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIMLAPI_API_KEY", KEY)
    monkeypatch.setenv("AIMLAPI_API_BASE", fast_emulator.base_url)
    monkeypatch.setattr(sys, "argv", ["aimlapi-images", "batch", "jobs.csv", "--out", "out"])
    Path("other.jsonl").write_text('{"prompt": "x", "brand_new": 1}', encoding="utf-8")
    Path("jobs.csv").write_text("id,prompt,title\nfox,A fox,Fuchs\nowl,An owl,Eule\n", encoding="utf-8")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, *capsys.readouterr()


def test_it_makes_all_images_and_sums_up(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "batch", "jobs.csv", "--out", "out", "--quality", "low", "--transport", "aiohttp")

    assert code == 0
    assert out == "2 of 2 done, $0.0180 spent\n"
    assert err.startswith("2 jobs (2 pending); 2 to do, into ")
    assert sorted(path.name for path in Path("out").glob("*.png")) == ["fox.png", "owl.png"]
    assert sorted(path.name for path in Path("out").iterdir() if path.suffix != ".png") == [
        *(".thumbnails", "batch.lock", "batch.sqlite", "index.html", "results.jsonl"),
    ]


def test_what_failed_is_grouped_and_says_what_to_do(
    capsys: pytest.CaptureFixture[str], fast_emulator: RunningEmulator
) -> None:
    fast_emulator.fail("content_policy")
    fast_emulator.fail("dropped_after")

    code, out, err = run(capsys, "batch", "jobs.csv", "--out", "out")

    assert code == 1
    lines = out.splitlines()
    assert lines[0] == "0 of 2 done, $0.0000 spent, and 1 attempts of unknown cost"
    assert {line.partition(":")[0] for line in lines[1:3]} == {"  1 refused", "  1 unknown"}
    assert lines[3:] == [
        "1 may have been billed; to find out: aimlapi-images reconcile out",
        "1 refused at no cost; to try again, add --retry-refused",
        "to go on: aimlapi-images batch jobs.csv --out out",
    ]
    assert "refused: HTTP 400" in err


def test_a_dry_run_tells_and_touches_nothing(
    capsys: pytest.CaptureFixture[str], fast_emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIMLAPI_API_KEY")

    code, out, _ = run(capsys, "batch", "jobs.csv", "--out", "out", "--dry-run")

    assert code == 0
    assert out.splitlines() == [
        f"2 jobs (2 pending); 2 to do, into {Path('out').absolute()}",
        "the cost is not known: no earlier job of the same model, size and quality in this folder has one",
    ]
    assert not Path("out").exists()
    assert fast_emulator.stats.received == 0


def test_a_dry_run_estimates_from_what_earlier_jobs_cost(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "batch", "jobs.csv", "--out", "out", "--limit", "1")
    before = Path("out/batch.sqlite").read_bytes()

    code, out, _ = run(capsys, "batch", "jobs.csv", "--out", "out", "--dry-run")
    _, shown, _ = run(capsys, "batch", "jobs.csv", "--out", "out", "--dry-run", "--json")

    assert code == 0
    assert out == f"2 jobs (1 done, 1 pending); 1 to do, about $0.03, into {Path('out').absolute()}\n"
    assert json.loads(shown)["estimate_usd"] == 0.034
    assert Path("out/batch.sqlite").read_bytes() == before


def test_events_are_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "batch", "jobs.csv", "--out", "out", "--json")

    events = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [event["event"] for event in events] == ["BatchStarted", "JobEnded", "JobEnded", "BatchEnded"]
    assert {event["id"] for event in events[1:3]} == {"fox", "owl"}
    assert events[-1]["counts"] == {"done": 2}


def test_quiet_prints_nothing_but_problems(capsys: pytest.CaptureFixture[str], fast_emulator: RunningEmulator) -> None:
    fast_emulator.fail("content_policy")

    code, out, err = run(capsys, "batch", "jobs.csv", "--out", "out", "-q")
    again = run(capsys, "batch", "jobs.csv", "--out", "out", "-q", "--retry-refused")

    assert (code, err) == (1, "")
    assert out.startswith("1 of 2 done")
    assert again == (0, "", "")


def test_prompts_come_from_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"A fox\n"))))

    code, out, _ = run(capsys, "batch", "-", "--out", "out", "--format", "txt")

    assert (code, out) == (0, "1 of 1 done, $0.0340 spent\n")


def test_stored_jobs_are_carried_on(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "batch", "jobs.csv", "--out", "out", "--limit", "1")

    code, out, _ = run(capsys, "batch", "--out", "out")

    assert (code, out) == (0, "2 of 2 done, $0.0680 spent\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["jobs.csv", "--size", "7x7"], "Invalid value for '--size'"),
        (["other.jsonl"], "1 of 1 jobs are invalid, so that none was sent. line 1: "),
        (["none.csv"], "none.csv cannot be read: No such file or directory"),
        (["jobs.doc"], "jobs.doc is no .txt, .csv or .jsonl file"),
        ([], "has no jobs of an earlier run: give the jobs"),
        (["jobs.csv", "--limit", "0"], "Invalid value for '--limit'"),
    ],
)
def test_what_cannot_be_run_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    code, out, err = run(capsys, "batch", *arguments, "--out", "out")

    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_budget_is_for_all_runs(capsys: pytest.CaptureFixture[str], fast_emulator: RunningEmulator) -> None:
    Path("jobs.txt").write_text("".join(f"A fox, number {number}\n" for number in range(6)))

    first = run(capsys, "batch", "jobs.txt", "--out", "out", "--budget-usd", "0.11")
    second = run(capsys, "batch", "jobs.txt", "--out", "out", "--budget-usd", "0.11")
    third = run(capsys, "batch", "jobs.txt", "--out", "out", "--budget-usd", "0.21", "--requests-per-minute", "6000")

    assert (first[0], second[0], third[0]) == (5, 5, 0)
    assert "3 of 6 done, $0.1020 spent" in first[1]
    assert "stopped early: not sent: it would exceed the budget of $0.1100" in first[1]
    assert "3 still to be sent" in second[1]
    assert fast_emulator.billed == 6


def test_a_folder_in_use_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    with locked(Path("out")):
        code, _, err = run(capsys, "batch", "jobs.csv", "--out", "out")

    assert code == 2
    assert "another run uses" in err


def test_it_works_with_the_emulator_alone(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIMLAPI_API_KEY")

    code, out, _ = run(capsys, "batch", "jobs.csv", "--out", "out", "--emulator", "--max-concurrency", "1")

    assert (code, out) == (0, "2 of 2 done, $0.0680 spent\n")


def test_reconcile_settles_and_says_so(capsys: pytest.CaptureFixture[str], fast_emulator: RunningEmulator) -> None:
    fast_emulator.fail("dropped_after")
    fast_emulator.fail("dropped_before")
    run(capsys, "batch", "jobs.csv", "--out", "out")

    first = run(capsys, "reconcile", "out")
    second = run(capsys, "reconcile", "out", "--grace", "0")
    third = run(capsys, "batch", "jobs.csv", "--out", "out", "--retry-lost")

    assert first[0] == 1
    assert first[1].startswith("1 were billed and are lost ($0.0340), 0 cost nothing")
    assert "1 are still open, as the provider's log does not tell; ask again after 20" in first[1]
    assert second[:2] == (
        0,
        "0 were billed and are lost ($0.0000), 1 cost nothing and run again, 0 have a known cost now\n",
    )
    assert third[:2] == (0, "2 of 2 done, $0.1020 spent\n")
    assert run(capsys, "reconcile", "none")[0] == 4


def test_results_are_printed_or_written(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "batch", "jobs.csv", "--out", "out")

    code, lines, _ = run(capsys, "results", "out")
    _, table, _ = run(capsys, "results", "out", "--format", "csv")
    written = run(capsys, "results", "out", "--format", "parquet", "-o", "r.parquet")
    refused = run(capsys, "results", "out", "--format", "parquet")

    assert code == 0
    assert [json.loads(line)["carried"] for line in lines.splitlines()] == [{"title": "Fuchs"}, {"title": "Eule"}]
    assert table.startswith("id,status,line,file,prompt,")
    assert written == (0, "", "")
    assert Path("r.parquet").exists()
    assert refused[0] == 2
    assert run(capsys, "results", "none")[0] == 4


def test_a_terminal_gets_a_live_display(fast_emulator: RunningEmulator, tmp_path: Path) -> None:
    fast_emulator.configure(latency=20.0)
    terminal, side = pty.openpty()
    batch = [*COMMAND, "batch", "jobs.csv", "--out", "out", "--budget-usd", "5"]
    with subprocess.Popen(batch, stdout=subprocess.PIPE, stderr=side, env={**os.environ, "TERM": "xterm"}) as process:
        os.close(side)
        shown = b""
        try:
            while piece := os.read(terminal, 65536):
                shown += piece
        except OSError:  # the other end is closed
            pass
        out, _ = process.communicate()
    os.close(terminal)

    assert process.returncode == 0
    text = shown.decode()
    assert "2 jobs (2 pending); 2 to do, into" in text
    assert "in flight, $0.00 spent of $5.00" in text
    assert "2/2" in text
    assert out.decode() == "2 of 2 done, $0.0680 spent\n"
