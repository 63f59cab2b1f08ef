"""Short ways to run a batch, in this process or as a command, and to look at its folder."""

from __future__ import annotations

import inspect
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs

from aimlapi_images import ImageClient
from aimlapi_images.batch import BatchEnded, BatchEvent, BatchStarted, JobResult, Notice, run_batch
from conftest import KEY

# A process that was started in the background ignores Ctrl-C, and so would its children.
_RUN = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from aimlapi_images.cli import main; main()"
)
COMMAND = [sys.executable, "-c", _RUN]


@attrs.define
class Ran:
    """What a run of a batch brought: its results, and its events."""

    results: dict[str, JobResult] = attrs.field(factory=dict)
    events: list[BatchEvent] = attrs.field(factory=list)

    @property
    def statuses(self) -> dict[str, str]:
        return {id_: result.status.value for id_, result in self.results.items()}

    @property
    def notices(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice)]

    @property
    def started(self) -> BatchStarted:
        (event,) = (each for each in self.events if isinstance(each, BatchStarted))
        return event

    @property
    def ended(self) -> BatchEnded:
        (event,) = (each for each in self.events if isinstance(each, BatchEnded))
        return event

    @property
    def counts(self) -> dict[str, int]:
        return {status.value: number for status, number in self.ended.counts.items()}


async def run(
    client: ImageClient, jobs: Any, out: Path | str, *, each: Callable[[], object] | None = None, **options: Any
) -> Ran:
    """Run a batch to its end, and call `each` after each result. An error has what came before it as its `ran`."""
    ran = Ran()
    try:
        async for result in run_batch(client, jobs, out=out, progress=ran.events.append, **options):
            ran.results[result.id] = result
            done = each() if each is not None else None
            if inspect.isawaitable(done):
                await done
    except Exception as error:
        error.ran = ran  # type: ignore[attr-defined]
        raise
    return ran


def jobs(*ids: str, **fields: Any) -> list[dict[str, Any]]:
    """One job for each id."""
    return [{"id": id_, "prompt": f"a {id_}", **fields} for id_ in ids]


def query(out: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a batch's state."""
    with closing(sqlite3.connect(out / "batch.sqlite")) as database:
        return database.execute(sql).fetchall()


def exported(out: Path) -> list[dict[str, Any]]:
    """The lines of `results.jsonl`."""
    return [json.loads(line) for line in (out / "results.jsonl").read_text(encoding="utf-8").splitlines()]


def start(base_url: str, *arguments: object, first: str = "", **options: Any) -> subprocess.Popen[str]:
    """Start the command in a process of its own, which runs the code `first` before."""
    environment = {**os.environ, "AIMLAPI_API_KEY": KEY, "AIMLAPI_API_BASE": base_url, "NO_PROXY": "127.0.0.1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    command = [sys.executable, "-c", first + _RUN, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, **{**pipes, **options})


def command(base_url: str, *arguments: object, **options: Any) -> tuple[int, str, str]:
    """Run the command. Returns exit code, standard output and standard error."""
    with start(base_url, *arguments, **options) as process:
        shown, errors = process.communicate(timeout=120)
    return process.returncode, shown, errors
