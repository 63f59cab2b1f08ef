"""Memory over 100,000 images of 20 KB through one client: `make bench-soak`."""

from __future__ import annotations

import argparse
import asyncio
import statistics
from contextlib import AsyncExitStack
from pathlib import Path

from bench.contestants import CONTESTANTS
from bench.running import server

SIZE, IN_FLIGHT, TENTHS = 20_000, 20, 10


def resident_megabytes() -> float:
    """The resident memory of this process. Linux only."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


async def tenths(who: str, base_url: str, orders: int) -> list[float]:
    """Return the median memory in megabytes during each tenth of the orders."""
    found = []
    async with AsyncExitStack() as stack:
        generate = await stack.enter_async_context(CONTESTANTS[who](base_url, IN_FLIGHT))
        for _ in range(TENTHS):
            samples = []
            for _ in range(orders // TENTHS // IN_FLIGHT):
                sizes = await asyncio.gather(*(generate("one of many", None) for _ in range(IN_FLIGHT)))
                assert sizes == [SIZE] * IN_FLIGHT
                samples.append(resident_megabytes())
            found.append(statistics.median(samples))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--who", choices=CONTESTANTS, default="ours")
    options = parser.parse_args()
    with server() as address:
        found = asyncio.run(tenths(options.who, f"http://{address}/b64-{SIZE}-1", options.orders))
    print(f"{options.who}, {options.orders:,} images of {SIZE:,} bytes, MB in each tenth:")
    print(" ".join(f"{each:.1f}" for each in found))
    print(f"last tenth, compared with the second: {found[-1] - found[1]:+.1f} MB")


if __name__ == "__main__":
    main()
