"""What a client says that it has spent."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from aimlapi_images import ImageClient, RetryPolicy, Spending
from conftest import KEY, PIXEL_ANSWER, Script
from virtual_time import run_in_virtual_time

PRICED = httpx.Response(200, json={**PIXEL_ANSWER, "meta": {"usage": {"credits_used": 190450, "usd_spent": 0.095225}}})
UNPRICED = httpx.Response(200, json=PIXEL_ANSWER)
NO_IMAGE = httpx.Response(200, json={"data": []})


async def spend(script: Script, orders: int, **settings: Any) -> Spending:
    async with ImageClient(KEY, transport=script.transport, max_concurrency=1, **settings) as client:
        assert client.spending == Spending()
        await asyncio.gather(*(client.generate("x") for _ in range(orders)), return_exceptions=True)
        return client.spending


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([PRICED, PRICED], Spending(orders=2, credits_used=380_900, usd_spent=0.19045)),
        ([PRICED, UNPRICED], Spending(orders=2, credits_used=190_450, usd_spent=0.095225, unpriced=1)),
        ([httpx.ReadTimeout("no"), PRICED], Spending(1, 190_450, 0.095225, unknown_outcomes=1)),
        ([httpx.Response(524), NO_IMAGE], Spending(unknown_outcomes=2)),
        ([httpx.Response(400), httpx.Response(401)], Spending()),
        (
            [httpx.Response(429), httpx.Response(500, json={"message": "Later."}), PRICED, PRICED],
            Spending(2, 380_900, 0.19045),
        ),
    ],
)
def test_spending_adds_up_what_the_api_said(answers: list[Any], expected: Spending) -> None:
    spending = run_in_virtual_time(spend(Script(*answers), 2))

    assert spending.usd_spent == pytest.approx(expected.usd_spent)
    assert [spending.orders, spending.credits_used, spending.unpriced, spending.unknown_outcomes] == [
        expected.orders,
        expected.credits_used,
        expected.unpriced,
        expected.unknown_outcomes,
    ]


def test_what_is_paid_for_counts_even_if_its_download_fails() -> None:
    url = {"data": [{"url": "https://cdn.example/a.png"}], "meta": {"usage": {"credits_used": 5}}}
    script = Script(httpx.Response(200, json=url), httpx.Response(404))

    spending = run_in_virtual_time(spend(script, 1, retry=RetryPolicy(attempts=1)))

    assert (spending.orders, spending.credits_used) == (1, 5)


def test_an_attempt_that_was_cancelled_may_be_billed_and_one_that_waited_is_not() -> None:
    async def slow(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(26)
        return PRICED

    async def main() -> Spending:
        async with ImageClient(KEY, transport=httpx.MockTransport(slow), max_concurrency=1) as client:
            tasks = [asyncio.create_task(client.generate("x")) for _ in range(3)]
            await asyncio.sleep(5)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return client.spending

    assert run_in_virtual_time(main()) == Spending(unknown_outcomes=1)
