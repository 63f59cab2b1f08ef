"""Runner of measurements: one after the other, each in its own process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

LONGEST_RUN = 240.0  # seconds
SCRIPTS = Path(__file__).resolve().parent.parent

Figures = dict[str, float]


class Cell(NamedTuple):
    """A situation to measure.

    Attributes:
        label: The title of its table.
        path: The path of the server, which selects the answers.
        orders: Number of images in total.
        in_flight: Number of requests open at once.
        save: Whether each image goes to a file, or stays in memory.
        who: Names of the contestants.
        rounds: Number of measurements of each contestant.
        clients: Number of processes that do so at the same time.
    """

    label: str
    path: str
    orders: int
    in_flight: int
    save: bool
    who: Sequence[str]
    rounds: int
    clients: int = 1


def environment() -> dict[str, str]:
    """The environment of child processes. They measure this checkout, wherever the package is installed from."""
    path = os.pathsep.join(str(SCRIPTS.parent / name) for name in ("scripts", "src", "generated"))
    return {**os.environ, "PYTHONPATH": path, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


@contextmanager
def server() -> Iterator[str]:
    """Run the server. Yields its address."""
    command = [sys.executable, "-m", "bench.server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as running:
        assert running.stdout
        try:
            yield running.stdout.readline().strip()
        finally:
            running.kill()


def measure(cell: Cell, address: str) -> dict[str, Figures]:
    """Return the median figures of each contestant, without those that failed or took too long."""
    runs: dict[str, list[Figures]] = {who: [] for who in cell.who}
    for _ in range(cell.rounds):
        for who in cell.who:
            runs[who] += measure_once(cell, who, address)
    return {who: _medians(each) for who, each in runs.items() if each}


def measure_once(cell: Cell, who: str, address: str) -> list[Figures]:
    """Return the figures of each process of one contestant, without those that failed or took too long."""
    arguments = [who, f"http://{address}/{cell.path}", str(cell.orders), str(cell.in_flight)]
    command = [sys.executable, "-m", "bench.child", *arguments, "save" if cell.save else "keep"]

    def child(_: int) -> list[Figures]:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, env=environment(), timeout=LONGEST_RUN
            )
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            print(f"  {cell.label}: {who} failed: {str(error.stderr)[-300:]}", file=sys.stderr)
            return []
        return [json.loads(done.stdout)]

    with ThreadPoolExecutor(cell.clients) as pool:
        return list(chain.from_iterable(pool.map(child, range(cell.clients))))


def _medians(runs: list[Figures]) -> Figures:
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def start_times(codes: dict[str, str], rounds: int) -> dict[str, float]:
    """Return the median run time in seconds of several short programs, run in turn."""
    runs: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(rounds):
        for name, code in codes.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment())
            runs[name].append(time.perf_counter() - started)
    return {name: statistics.median(each) for name, each in runs.items()}
