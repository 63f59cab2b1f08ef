"""Models of servers that refuse orders, and clients that cope with them, in virtual time.

Each model decides in a few lines whether it admits an order. The runner gives all orders at once, through the real
`Throttle` and `Retry`, through plain retries as the OpenAI SDK does them, or through an oracle that knows when the
server admits and so is never refused: its time is the ideal.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Final, Literal

import attrs

from aimlapi_images.api.outcome import Failure, Outcome
from aimlapi_images.dispatch.retry import Retry, RetryPolicy
from aimlapi_images.dispatch.throttle import Throttle
from aimlapi_images.errors import RateLimitError
from virtual_time import run_in_virtual_time

Who = Literal["ours", "plain", "oracle"]

TRAVEL: Final = (0.01, 0.03)  # seconds to the server, and back
POLL: Final = 0.02  # seconds between questions of the oracle


@attrs.define
class Server:
    """Admits everything.

    Attributes:
        wait: `Retry-After` in seconds, if the model sends it.
    """

    wait: float = 1.0

    def admits(self, now: float, open_now: int) -> bool:
        """Whether an order that arrives now is admitted. Called once for each arrival."""
        return True

    def retry_after(self, now: float) -> float:
        """Seconds to wait, as told to an order that is refused now."""
        return self.wait

    message: str = "Too Many Requests"


@attrs.define
class TokenBucket(Server):
    """Admits `rate` orders a second, and up to `burst` at once after a quiet time."""

    rate: float = 20.0
    burst: float = 20.0
    _tokens: float = attrs.field(default=1e9, init=False)
    _at: float = attrs.field(default=0.0, init=False)

    def admits(self, now: float, open_now: int) -> bool:
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate_at(now))
        self._at = now
        if self._tokens < 1 - 1e-9:
            return False
        self._tokens -= 1
        return True

    def rate_at(self, now: float) -> float:
        return self.rate


@attrs.define
class Changing(TokenBucket):
    """A token bucket of 20 a second, of 5 a second from 10 s to 40 s."""

    def rate_at(self, now: float) -> float:
        return 5.0 if 10 <= now < 40 else 20.0


@attrs.define
class FixedWindow(Server):
    """Admits `most` orders in each minute of its clock."""

    most: int = 100
    _minute: int = attrs.field(default=-1, init=False)
    _used: int = attrs.field(default=0, init=False)

    def admits(self, now: float, open_now: int) -> bool:
        if now // 60 != self._minute:
            self._minute, self._used = int(now // 60), 0
        if self._used >= self.most:
            return False
        self._used += 1
        return True

    def retry_after(self, now: float) -> float:
        return 60 - now % 60


@attrs.define
class SlidingWindow(Server):
    """Admits `most` orders in any 60 seconds."""

    most: int = 100
    _admitted: deque[float] = attrs.field(factory=deque, init=False)

    def admits(self, now: float, open_now: int) -> bool:
        while self._admitted and self._admitted[0] <= now - 60:
            self._admitted.popleft()
        if len(self._admitted) >= self.most:
            return False
        self._admitted.append(now)
        return True

    def retry_after(self, now: float) -> float:
        return self._admitted[0] + 60 - now


@attrs.define
class Concurrency(Server):
    """Admits while fewer than `most` orders are open."""

    most: int = 8

    def admits(self, now: float, open_now: int) -> bool:
        return open_now < self.most


@attrs.define
class AtRandom(Server):
    """Refuses a share of the orders, at whatever rate they come."""

    share: float = 1 / 11
    chance: random.Random = attrs.field(factory=lambda: random.Random(7), init=False)  # noqa: S311

    def admits(self, now: float, open_now: int) -> bool:
        return self.chance.random() >= self.share


@attrs.define
class BrownOut(Server):
    """Refuses every order from 3 s to 33 s."""

    wait: float = 2.0

    def admits(self, now: float, open_now: int) -> bool:
        return not 3 <= now < 33


@attrs.define
class FreeTier(Server):
    """Admits 10 orders, and none for the rest of the hour."""

    wait: float = 3000.0
    message: str = "Free-tier limit: You've reached the limit of requests"
    _used: int = attrs.field(default=0, init=False)

    def admits(self, now: float, open_now: int) -> bool:
        self._used += 1
        return self._used <= 10


@attrs.frozen
class Situation:
    """A server, and how many orders it gets.

    Attributes:
        name: What the table calls it.
        server: Makes the server.
        orders: Number of orders of each client.
        clients: Number of clients that share the server.
    """

    name: str
    server: Callable[[], Server]
    orders: int = 500
    clients: int = 1


SITUATIONS: Final = {
    each.name: each
    for each in (
        Situation("no limit", Server),
        Situation("token bucket, 20/s, burst 20", TokenBucket),
        Situation("leaky bucket, 10/s, no burst", partial(TokenBucket, rate=10.0, burst=1.0), orders=300),
        Situation("fixed window, 100 a minute", FixedWindow),
        Situation("sliding window, 100 a minute", SlidingWindow),
        Situation("8 open at once", Concurrency, orders=200),
        Situation("refuses 1 of 11", AtRandom, orders=300),
        Situation("refuses 1 of 3", partial(AtRandom, share=1 / 3), orders=300),
        Situation("brown-out of 30 s", BrownOut, orders=1000),
        Situation("20/s, 5/s for 30 s, 20/s", Changing, orders=1000),
        Situation("free tier's hour", FreeTier, orders=100),
        Situation("four clients, token bucket", TokenBucket, orders=250, clients=4),
    )
}


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
        return _ideal(situation, seconds, at_once)
    run_in_virtual_time(main())
    result.refusals = len(result.refused)
    return result


def _ideal(situation: Situation, seconds: float, at_once: int) -> Run:
    """The same orders, sent by someone who knows when the server admits the next one."""
    server, result = situation.server(), Run()
    ends: deque[float] = deque()
    now = 0.0
    for _ in range(situation.orders * situation.clients):
        while True:
            while ends and ends[0] <= now + 1e-9:
                ends.popleft()
            if len(ends) >= at_once * situation.clients:
                now = ends[0]
            elif server.admits(now, len(ends)):
                break
            elif isinstance(server, FreeTier):
                return result
            elif not isinstance(server, AtRandom):
                now += POLL
        result.accepted.append(now)
        ends.append(now + seconds + 2 * sum(TRAVEL) / len(TRAVEL))
        result.seconds = ends[-1]
    return result


Client = Callable[[Callable[[float], Awaitable["Failure | str"]]], Awaitable["Failure | str"]]


def ours(at_once: int, chance: random.Random) -> Client:
    """A client with the real throttle and the real retry loop."""
    policy = RetryPolicy()
    throttle = Throttle(policy, at_once, chance=chance.random)
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
