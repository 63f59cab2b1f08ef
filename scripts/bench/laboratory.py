"""Clients that cope with servers that refuse orders, in virtual time.

The runner gives all orders at once, through the real `Throttle` and `Retry`, through plain retries as the OpenAI SDK
does them, or through an oracle that knows when the server admits and so is never refused: its time is the ideal.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Literal

import attrs

from aimlapi_images.api.outcome import Failure, Outcome
from aimlapi_images.dispatch.retry import Retry, RetryPolicy
from aimlapi_images.dispatch.throttle import Throttle
from aimlapi_images.errors import RateLimitError
from bench.server_models import AtRandom, Situation, ideal
from virtual_time import run_in_virtual_time

Who = Literal["ours", "plain", "oracle"]

TRAVEL: Final = (0.01, 0.03)  # seconds to the server, and back


@attrs.define
class Run:
    """What became of the orders.

    Attributes:
        seconds: Until the last order was answered.
        refusals: Number of refusals.
        lost: Number of orders that failed.
        accepted: When each admitted order was accepted.
        refused: When each refusal was made.
        longest_wait: Most seconds from an order's first attempt to its acceptance.
        most_open: Most orders open at once.
    """

    seconds: float = 0.0
    refusals: int = 0
    lost: int = 0
    accepted: list[float] = attrs.field(factory=list)
    refused: list[float] = attrs.field(factory=list)
    longest_wait: float = 0.0
    most_open: int = 0


def run(
    situation: Situation, who: Who, *, retry_after: bool = True, seconds: float = 0.5, at_once: int = 16, seed: int = 1
) -> Run:
    """Give all orders of a situation at once.

    Args:
        situation: The server and the orders.
        who: Which kind of client.
        retry_after: Whether refusals say when to come back.
        seconds: Duration of a generation.
        at_once: The client's maximum number of open orders.
        seed: Of all random numbers.
    """
    server, result, chance = situation.server(), Run(), random.Random(seed)  # noqa: S311
    if isinstance(server, AtRandom):
        server.chance = chance
    open_now = 0

    async def attempt(first: float) -> Failure | str:
        nonlocal open_now
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(chance.uniform(*TRAVEL))
        now = clock()
        if not server.admits(now, open_now):
            result.refused.append(now)
            await asyncio.sleep(chance.uniform(*TRAVEL))
            told = server.retry_after(now) if retry_after else None
            return Failure(
                outcome=Outcome.LATER, error_type=RateLimitError, message=server.message, retry_after=told,
                details={"status": 429},
            )  # fmt: skip
        result.accepted.append(now)
        result.longest_wait = max(result.longest_wait, now - first)
        open_now += 1
        result.most_open = max(result.most_open, open_now)
        await asyncio.sleep(seconds)
        open_now -= 1
        await asyncio.sleep(chance.uniform(*TRAVEL))
        return "image"

    clients = [CLIENTS[who](at_once, chance) for _ in range(situation.clients)]

    async def main() -> None:
        orders = [client(attempt) for client in clients for _ in range(situation.orders)]
        ended = await asyncio.gather(*orders)
        result.lost = sum(isinstance(each, Failure) for each in ended)
        result.seconds = asyncio.get_running_loop().time()

    if who == "oracle":
        return Run(seconds=ideal(situation, seconds + 2 * sum(TRAVEL) / len(TRAVEL), at_once))
    run_in_virtual_time(main())
    result.refusals = len(result.refused)
    return result


Client = Callable[[Callable[[float], Awaitable["Failure | str"]]], Awaitable["Failure | str"]]


def ours(at_once: int, chance: random.Random) -> Client:
    """A client with the real throttle and the real retry loop."""
    policy = RetryPolicy()
    throttle = Throttle(policy, at_once)
    retry = Retry(policy, chance=chance.random)

    async def order(attempt: Callable[[float], Awaitable[Failure | str]]) -> Failure | str:
        ticket = throttle.ticket()
        first: float | None = None

        async def turn() -> Failure | str:
            nonlocal first
            async with throttle.turn(ticket) as turn:
                if turn.refusal is not None:
                    return turn.refusal
                first = asyncio.get_running_loop().time() if first is None else first
                result = turn.result = await attempt(first)
                return result

        return await retry.run(turn, throttled=True)

    return order


def plain(at_once: int, chance: random.Random) -> Client:
    """A semaphore around retries as the OpenAI SDK does them, but any number of them."""
    slots = asyncio.Semaphore(at_once)

    async def order(attempt: Callable[[float], Awaitable[Failure | str]]) -> Failure | str:
        async with slots:
            first = asyncio.get_running_loop().time()
            for wait in _doubling(0.5, 8.0):
                result = await attempt(first)
                if not isinstance(result, Failure) or (result.retry_after or 0.0) > 120:
                    break
                told = result.retry_after
                await asyncio.sleep(told if told and told <= 60 else wait * (1 - 0.25 * chance.random()))
            return result

    return order


def _doubling(wait: float, longest: float) -> Iterator[float]:
    while True:
        yield wait
        wait = min(longest, 2 * wait)


CLIENTS: Final[dict[Who, Callable[[int, random.Random], Client]]] = {"ours": ours, "plain": plain, "oracle": plain}
