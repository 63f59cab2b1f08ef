"""A budget: what is refused, what waits, and what it is judged by."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from aimlapi_images import Budget, BudgetExceededError, GeneratedImage, ImageClient, RetryPolicy, errors
from aimlapi_images.dispatch.budget import Ledger
from aimlapi_images.models import Usage
from conftest import KEY, PIXEL_ANSWER, Script
from virtual_time import run_in_virtual_time


def priced(usd: float | None) -> httpx.Response:
    usage = {} if usd is None else {"meta": {"usage": {"usd_spent": usd}}}
    return httpx.Response(200, json={**PIXEL_ANSWER, **usage})


class SlowServer:
    """Takes 26 s for an image, and counts how many are under way."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self.requests = 0
        self.open = 0
        self.most_open: list[int] = []
        self.transport = httpx.MockTransport(self._handle)
        self._answer = answer

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        self.open += 1
        self.most_open.append(self.open)
        await asyncio.sleep(26)
        self.open -= 1
        return self._answer(request)


async def gather(server: SlowServer, budget: Budget, orders: int, **call: Any) -> list[GeneratedImage | BaseException]:
    async with ImageClient(KEY, transport=server.transport, budget=budget, retry=RetryPolicy(attempts=1)) as client:
        calls = (client.generate("x", **call) for _ in range(orders))
        return await asyncio.gather(*calls, return_exceptions=True)


def delivered(results: list[GeneratedImage | BaseException]) -> int:
    return sum(isinstance(each, GeneratedImage) for each in results)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (Budget(usd=0.17), 3),
        (Budget(usd=0.15), 3),
        (Budget(usd=0.1499), 2),
        (Budget(credits=200_000), 2),
        (Budget(usd=5, credits=100_000), 1),
        (Budget(usd=5), 40),
        (Budget(usd=0), 0),
        (Budget(usd=0.2, order_usd=0.05), 4),
        (Budget(usd=0.2, order_usd=0.5), 0),
    ],
)
def test_no_more_is_sent_than_the_budget_allows_however_many_are_asked_for(budget: Budget, expected: int) -> None:
    server = SlowServer(lambda request: priced(0.05))

    results = run_in_virtual_time(gather(server, budget, 40))

    assert (delivered(results), server.requests) == (expected, expected)
    refused = [each for each in results if isinstance(each, BaseException)]
    assert all(isinstance(each, BudgetExceededError) and not each.may_be_billed for each in refused)


def test_the_first_one_goes_ahead_and_the_others_wait_for_its_price() -> None:
    server = SlowServer(lambda request: priced(0.01))

    assert delivered(run_in_virtual_time(gather(server, Budget(usd=5), 16))) == 16

    assert server.most_open[:2] == [1, 1]
    assert max(server.most_open) == 15


def test_nobody_waits_where_the_price_is_given() -> None:
    server = SlowServer(lambda request: priced(0.01))

    run_in_virtual_time(gather(server, Budget(usd=5, order_usd=0.01), 16))

    assert max(server.most_open) == 16


def test_each_kind_has_its_own_price() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return priced(1.0 if b'"high"' in request.content else 0.01)

    server = SlowServer(answer)

    async def main() -> list[GeneratedImage | BaseException]:
        async with ImageClient(KEY, transport=server.transport, budget=Budget(usd=2.5)) as client:
            calls = [client.generate("x", quality="low") for _ in range(10)]
            calls += [client.generate("x", quality="high") for _ in range(10)]
            return await asyncio.gather(*calls, return_exceptions=True)

    results = run_in_virtual_time(main())

    assert (delivered(results[:10]), delivered(results[10:])) == (10, 2)


def test_what_fails_unbilled_leaves_its_money_to_others() -> None:
    answers = iter(
        [
            priced(0.05),
            httpx.Response(500, json={"message": "Later."}),
            httpx.Response(500, json={"message": "Later."}),
            *[priced(0.05)] * 9,
        ]
    )
    server = SlowServer(lambda request: next(answers))

    results = run_in_virtual_time(gather(server, Budget(usd=0.15), 6))

    assert (delivered(results), server.requests) == (3, 5)


def test_what_may_have_been_billed_counts_as_if_it_was() -> None:
    answers = iter([priced(0.05), httpx.Response(524), *[priced(0.05)] * 9])
    server = SlowServer(lambda request: next(answers))

    results = run_in_virtual_time(gather(server, Budget(usd=0.15), 6))

    assert (delivered(results), server.requests) == (2, 3)


def test_a_cost_that_is_not_told_cannot_be_kept_within_a_budget() -> None:
    server = SlowServer(lambda request: priced(None))

    results = run_in_virtual_time(gather(server, Budget(usd=5), 3))

    assert (delivered(results), server.requests) == (1, 1)
    assert "did not state the cost of any earlier order" in str(results[1])


def test_a_lost_answer_counts_as_the_dearest_order_so_far() -> None:
    answers = iter([priced(0.03), httpx.Response(524), *[priced(0.02)] * 9])
    server = SlowServer(lambda request: next(answers))

    async def main() -> list[GeneratedImage | BaseException]:
        async with ImageClient(KEY, transport=server.transport, budget=Budget(usd=0.1)) as client:
            first = [await client.generate("x", quality="high")]
            calls = (client.generate("x", quality="low") for _ in range(5))
            return first + await asyncio.gather(*calls, return_exceptions=True)

    results = run_in_virtual_time(main())

    assert (delivered(results), server.requests) == (3, 4)
    assert "would exceed the budget of $0.1000" in str(results[-1])


def test_a_cost_that_is_not_told_is_taken_to_be_the_one_given() -> None:
    server = SlowServer(lambda request: priced(None))

    assert delivered(run_in_virtual_time(gather(server, Budget(usd=0.1, order_usd=0.03), 5))) == 3


def test_the_refusal_says_what_was_spent_and_what_it_would_cost() -> None:
    server = SlowServer(lambda request: priced(0.05))

    results = run_in_virtual_time(gather(server, Budget(usd=0.08), 2))

    assert str(results[1]).startswith(
        "not sent: it would exceed the budget of $0.0800. Up to $0.0500 is spent, and such an order costs $0.0500 "
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "a budget needs usd or credits"),
        ({"order_usd": 1}, "a budget needs usd or credits"),
        ({"usd": -1}, "usd must be .* not -1"),
        ({"usd": True}, "usd must be .* not True"),
        ({"credits": "5"}, "credits must be .* not '5'"),
        ({"usd": float("nan")}, "usd must be .* not nan"),
        ({"usd": 1, "order_usd": float("inf")}, "order_usd must be .* not inf"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InvalidRequestError, match=message):
        Budget(**arguments)


def test_an_attempt_that_the_log_settles_is_counted_once() -> None:
    ledger = Ledger(Budget(usd=1))
    ledger.charge("kind", Usage(usd_spent=0.4))
    failed, succeeded = ledger.charge_unknown("kind"), ledger.charge_unknown("kind")

    ledger.settle("kind", failed, None)
    ledger.settle("kind", succeeded, Usage(usd_spent=0.5))

    assert (ledger.spending.orders, ledger.spending.unknown_outcomes) == (2, 0)
    assert ledger.spending.usd_spent == pytest.approx(0.9)
    refusal = ledger.refusal("kind")
    assert refusal is not None
    assert refusal.error_type is BudgetExceededError
    assert "$0.9000 is spent" in refusal.message


def test_a_waiting_order_can_be_cancelled_and_the_others_go_on() -> None:
    server = SlowServer(lambda request: priced(0.05))

    async def main() -> list[Any]:
        async with ImageClient(KEY, transport=server.transport, budget=Budget(usd=1)) as client:
            tasks = [asyncio.create_task(client.generate("x")) for _ in range(4)]
            await asyncio.sleep(5)
            tasks[1].cancel()
            return await asyncio.gather(*tasks, return_exceptions=True)

    results = run_in_virtual_time(main())

    assert delivered(results) == 3


def test_without_a_budget_everything_is_sent() -> None:
    script = Script(priced(None))

    async def main() -> float:
        async with ImageClient(KEY, transport=script.transport) as client:
            await client.generate("x")
            return client.spending.unpriced

    assert run_in_virtual_time(main()) == 1


def test_as_long_as_no_price_is_known_an_unknown_outcome_stops_the_spending() -> None:
    server = SlowServer(lambda request: httpx.Response(524))

    results = run_in_virtual_time(gather(server, Budget(usd=0.05), 30))

    assert (delivered(results), server.requests) == (0, 1)
