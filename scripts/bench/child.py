"""One measurement in its own process: `python -m bench.child CONTESTANT BASE-URL ORDERS IN-FLIGHT SAVE`."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.contestants import BATCH, CONTESTANTS, batch_of_ours

INTERVAL = 0.005  # seconds


class LoopLag:
    """Measures how long the event loop is blocked, with a task that wakes up regularly.

    Attributes:
        longest: The longest delay of a wake-up in seconds.
    """

    def __init__(self) -> None:
        self.longest = 0.0

    @asynccontextmanager
    async def measuring(self) -> AsyncIterator[None]:
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        while True:
            due = time.perf_counter() + INTERVAL
            await asyncio.sleep(INTERVAL)
            self.longest = max(self.longest, time.perf_counter() - due)


def peak_megabytes() -> float:
    """The peak memory of this process. On Linux, it does not include what the parent used before the fork."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except OSError:
        kilo = 1024 if sys.platform == "darwin" else 1
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / kilo


async def measure(who: str, base_url: str, orders: int, in_flight: int, *, save: bool) -> dict[str, float]:
    """Place all orders at once. One image is fetched before, since another table shows the cost of the first use."""
    lag = LoopLag()
    await first_image("ours" if who == BATCH else who, base_url.rpartition("/")[0] + "/b64-0-1")
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) if save else None
        generate = None if who == BATCH else await stack.enter_async_context(CONTESTANTS[who](base_url, in_flight))
        await stack.enter_async_context(lag.measuring())
        started, before = time.perf_counter(), time.process_time()
        sizes: Sequence[int | BaseException]
        if generate is not None:
            calls = (generate(f"number {number}", folder and folder / f"{number}") for number in range(orders))
            sizes = await asyncio.gather(*calls, return_exceptions=True)
        else:
            assert folder
            sizes = await batch_of_ours(base_url, in_flight, orders, folder)
        wall, cpu = time.perf_counter() - started, time.process_time() - before
    images = [size for size in sizes if isinstance(size, int)]
    return {
        "images": len(images),
        "bytes": sum(images),
        "wall": wall,
        "rate": len(images) / wall,
        "cpu_ms": 1000 * cpu / orders,
        "peak_mb": peak_megabytes(),
        "lag_ms": 1000 * lag.longest,
    }


async def first_image(who: str, base_url: str) -> None:
    """Fetch an image of one pixel."""
    async with CONTESTANTS[who](base_url, 1) as generate:
        await generate("the first", None)


def first(who: str, base_url: str) -> None:
    """Fetch an image of one pixel, as a whole program."""
    asyncio.run(first_image(who, base_url))


def main() -> None:
    who, base_url, orders, in_flight, save = sys.argv[1:]
    found = asyncio.run(measure(who, base_url, int(orders), int(in_flight), save=save == "save"))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
