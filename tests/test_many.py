"""Many orders on real sockets: several processes at one rate limit, and cancellation in flight."""

from __future__ import annotations

import asyncio
import random

import pytest

from admitting import AdmittingServer, order_from_processes
from aimlapi_images import GeneratedImage, ImageClient
from conftest import KEY


async def test_four_processes_at_one_rate_limit_get_all_images() -> None:
    limited = AdmittingServer(rate=30, burst=5, seconds=0.1, retry_after=0.25)

    async with limited.running() as server:
        delivered = await order_from_processes(server.origin, processes=4, orders=25)

    assert delivered == [25] * 4
    assert len(server.starts) == 100
    assert server.refused > 0


@pytest.mark.untraced
async def test_cancelling_orders_in_flight_frees_every_slot() -> None:
    chance = random.Random(20)  # noqa: S311 - any choice will do
    unlimited = AdmittingServer(rate=1e9, burst=1e9, seconds=0.005, retry_after=1)

    async with unlimited.running() as server, ImageClient(KEY, base_url=server.origin, max_concurrency=50) as client:
        orders = [asyncio.create_task(client.generate(f"{number}")) for number in range(400)]
        chance.shuffle(orders)
        for victims in (orders[start : start + 20] for start in range(0, 400, 20)):
            before = len(server.starts)
            while len(server.starts) == before and not all(order.done() for order in orders):  # noqa: ASYNC110
                await asyncio.sleep(0)
            for order in victims:
                order.cancel()
        ended = await asyncio.gather(*orders, return_exceptions=True)
        again = await asyncio.gather(*(client.generate(f"{number}") for number in range(400)), return_exceptions=True)

    cancelled = [each for each in ended if isinstance(each, asyncio.CancelledError)]
    delivered = [each for each in ended if isinstance(each, GeneratedImage)]
    assert len(cancelled) + len(delivered) == 400
    assert len(cancelled) > 100
    assert [each for each in again if not isinstance(each, GeneratedImage)] == []
    assert client.spending.unknown_outcomes > 0
