"""Models of servers that refuse orders. Each decides in a few lines whether it admits one."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

import attrs

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
    """Refuses every order from 3 s until `over`, which is in seconds, too."""

    wait: float = 2.0
    over: float = 33.0

    def admits(self, now: float, open_now: int) -> bool:
        return not 3 <= now < self.over


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


def ideal(situation: Situation, seconds: float, at_once: int) -> float:
    """The seconds that all orders take if they are sent by someone who knows when the server admits the next one."""
    server, ends, now, last = situation.server(), deque[float](), 0.0, 0.0
    for _ in range(situation.orders * situation.clients):
        while True:
            while ends and ends[0] <= now + 1e-9:
                ends.popleft()
            if len(ends) >= at_once * situation.clients:
                now = ends[0]
            elif server.admits(now, len(ends)):
                break
            elif isinstance(server, FreeTier):
                return last
            elif not isinstance(server, AtRandom):
                now += POLL
        last = now + seconds
        ends.append(last)
    return last
