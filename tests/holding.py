"""Run in a process of its own, which has nothing else to do: gets images into memory, and says what that took at most.

`python holding.py ADDRESS IN-FLIGHT SIZE TRANSPORT`, where the transport is `lanes` or `aiohttp`.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc

from aimlapi_images import ImageClient, aiohttp_transport


async def main(address: str, in_flight: int, size: int, transport: str) -> None:
    async with ImageClient("key", base_url=f"http://{address}/b64-{size}-1") as client:
        await client.generate("x")  # what is loaded once is not to be counted
    async with ImageClient(
        "key",
        base_url=f"http://{address}/b64-{size}-{in_flight}",
        max_concurrency=in_flight,
        transport=aiohttp_transport() if transport == "aiohttp" else None,
    ) as client:
        gc.collect()
        tracemalloc.start()
        images = await asyncio.gather(*(client.generate("x") for _ in range(in_flight)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [len(image.data) for image in images] == [size] * in_flight
    sys.stdout.write(f"{peak}\n")


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
