"""How far a batch scales, on paper and simulated: `make bench-cluster` writes the tables of docs/cluster.md.

A batch is a line of stations: the driver sends an order, the API works on it, the driver records the answer, a worker
fetches and stores the image, the driver records that. Each takes a fixed time, and can do a number of things at once.
On paper, the slowest station decides. The simulation draws each time at random (exponentially, which is worse than
reality), and lets orders queue.
"""

from __future__ import annotations

import heapq
import random
import re
from collections.abc import Iterator
from pathlib import Path

import attrs

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cluster.md"
DRIVER = 0.010  # seconds of CPU time per order: sending, two writes to the state, handing out; twice what it was here
GENERATION = 26.0  # seconds, of the API
FETCH = 0.6  # seconds, of a worker's thread: download, check, upload
THREADS = 8  # per worker
STATE_BYTES = 500  # per job, in the SQLite file
IMAGE_BYTES = 1.5e6
USD = 0.034  # per image, in low quality
SIMULATED = 20_000  # orders


@attrs.frozen
class Run:
    """A batch of `orders`, with so many requests open at a time, and so many workers."""

    orders: int
    open_requests: int
    workers: int

    def stations(self) -> dict[str, tuple[float, int]]:
        """The seconds that each station takes for an order, and how many orders it works on at a time."""
        return {
            "the driver": (DRIVER, 1),
            "open requests": (GENERATION, self.open_requests),
            "the workers": (FETCH, self.workers * THREADS),
        }

    def wall(self) -> tuple[str, float]:
        """The slowest station, and the orders per second that it lets through."""
        rates = {name: places / seconds for name, (seconds, places) in self.stations().items()}
        return min(rates.items(), key=lambda each: each[1])


def simulated_rate(run: Run, orders: int, seed: int = 1) -> float:
    """Orders per second of a simulated batch, from the first tenth to the last."""
    dice = random.Random(seed)  # noqa: S311
    arrived = [0.0] * orders
    for seconds, places in run.stations().values():
        free = [0.0] * min(places, orders)
        left: list[float] = []
        for ready in arrived:  # first come, first served
            start = max(ready, heapq.heappop(free))
            end = start + dice.expovariate(1 / seconds)
            heapq.heappush(free, end)
            left.append(end)
        arrived = sorted(left)
    tenth = orders // 10
    return (orders - 2 * tenth) / (arrived[-tenth - 1] - arrived[tenth])


def rows() -> Iterator[str]:
    yield "| images | open requests | workers | orders a second | the wall | simulated | time | state | images | cost |"
    yield "| ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |"
    for orders, open_requests, workers in (
        (10**4, 16, 1),
        (10**4, 200, 1),
        (10**6, 200, 4),
        (10**6, 2000, 4),
        (10**6, 2000, 10),
        (10**8, 5000, 10),
        (10**8, 5000, 1000),
    ):
        run = Run(orders, open_requests, workers)
        name, rate = run.wall()
        found = simulated_rate(run, min(orders, SIMULATED))
        yield (
            f"| {orders:,} | {open_requests:,} | {workers:,} | {rate:.1f} | {name} | {found / rate:.2f} of it "
            f"| {duration(orders / rate)} | {orders * STATE_BYTES / 1e6:,.0f} MB "
            f"| {orders * IMAGE_BYTES / 1e12:,.2f} TB | ${orders * USD:,.0f} |"
        )


def duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.0f} days"


def main() -> None:
    table = "\n".join(rows())
    print(table)
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(
        re.sub(r"\| images \| open.*?\n(?!\|)", lambda _: table + "\n", text, flags=re.DOTALL), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
