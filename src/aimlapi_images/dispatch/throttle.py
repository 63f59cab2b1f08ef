"""One queue for a whole client: which order may be sent now, first come, first served.

A server refuses (429) for one of two reasons, and does not say which: too many open requests, or too many started
lately. Both limits are learned, and the stricter one rules. The window of open requests is cut to what the server
was handling when it refused. The rate follows from two refusals: at each of them the server had nothing left to
give, so its rate is what it admitted in between, over the time in between. Each limit is held after a refusal, for
longer the more often it was confirmed, and then grows again by itself.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import attrs

from aimlapi_images.api.outcome import Failure, Outcome
from aimlapi_images.dispatch.budget import Ledger
from aimlapi_images.dispatch.retry import RetryPolicy, stops_all

_FIRST_PAUSE: Final = 0.5  # seconds, when the server refuses and does not say for how long
_LONGEST_PAUSE: Final = 30.0  # seconds
_TOLERANCE: Final = 1e-4  # seconds by which a timer may fire early
_GROWTH_CHECK: Final = 0.02  # seconds between checks of a growing window

_START: Final = 16.0  # open requests before anything is known
_SAME: Final = 0.25  # a value within this share of the previous one counts as the same
_LONGEST_HOLD: Final = 60.0  # seconds
_SLOWEST: Final = 1 / 60  # starts per second
_BURST: Final = 0.25  # seconds of starts that may come at once


class Ticket(NamedTuple):
    """An order's place in the queue, kept for all of its attempts.

    Attributes:
        number: The place; the lowest goes first.
        kind: What decides the order's price.
    """

    number: int
    kind: Hashable


@attrs.define
class Turn:
    """An attempt's turn.

    Attributes:
        refusal: Why the order is not sent at all, if it is not.
        result: What the attempt returned, set by its holder: the throttle learns from it. `None` if cancelled.
    """

    refusal: Failure | None = None
    result: object = None


class _Waiter(NamedTuple):
    """Sorted by its ticket's number, which is unique."""

    ticket: Ticket
    ready: asyncio.Future[Failure | None]


class Throttle:
    """Lets attempts start one by one: within window, rate and budget, and not during a pause.

    Args:
        policy: Which refusals are waited out.
        max_concurrency: Maximum number of open attempts.
        requests_per_minute: Maximum number of starts per minute, evenly spread; any number if `None`.
        ledger: Checks the budget, and keeps track of attempts in flight.
        chance: Returns random numbers from 0 to 1.
        clock: Returns seconds; the running loop's clock if `None`.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        max_concurrency: int,
        requests_per_minute: float | None = None,
        ledger: Ledger | None = None,
        *,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._policy = policy
        self._window = Window(most=max_concurrency)
        self._pace = Pace()
        self._interval = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._ledger = ledger or Ledger()
        self._chance = chance
        self._now = clock or (lambda: asyncio.get_running_loop().time())
        self._numbers = itertools.count()
        self._queue: list[_Waiter] = []
        self._open = 0
        self._next_start = 0.0
        self._paused_until = 0.0
        self._pauses = 0  # since the last success
        self._timer: asyncio.TimerHandle | None = None

    def ticket(self, kind: Hashable = None) -> Ticket:
        """Take a place at the end of the queue.

        Args:
            kind: What decides the order's price.
        """
        return Ticket(next(self._numbers), kind)

    @asynccontextmanager
    async def turn(self, ticket: Ticket) -> AsyncIterator[Turn]:
        """Wait for a turn, and hold a slot for one attempt.

        The turn has a `refusal` instead if the order cannot succeed: another order found that there are no credits,
        the key is wrong or the API asks for too long a wait; or the budget does not allow it.
        """
        refusal = await self._wait(ticket)
        if refusal is not None:
            yield Turn(refusal)
            return
        turn, started = Turn(), self._now()
        try:
            yield turn
        finally:
            self._end(ticket)
            self._learn(turn.result, started)
            self._let_go()

    def _learn(self, result: object, started: float) -> None:
        if not isinstance(result, Failure):
            self._pauses = self._pauses if result is None else 0
        elif stops_all(self._policy, result):
            message = f"not sent, as another order was refused: {result.message}"
            refusal = attrs.evolve(result, outcome=Outcome.REFUSED, message=message)  # not to be queued again
            waiting, self._queue = self._queue, []
            for waiter in waiting:
                if not waiter.ready.done():
                    waiter.ready.set_result(refusal)
        elif result.outcome is Outcome.LATER:
            self._slow_down(result.retry_after, started)

    async def _wait(self, ticket: Ticket) -> Failure | None:
        waiter = _Waiter(ticket, asyncio.get_running_loop().create_future())
        heapq.heappush(self._queue, waiter)
        self._let_go()
        try:
            return await waiter.ready
        except asyncio.CancelledError:
            if waiter.ready.done() and not waiter.ready.cancelled() and waiter.ready.result() is None:
                # Its turn came at the same moment: pass it on.
                self._end(ticket)
                self._let_go()
            raise

    def _let_go(self) -> None:
        """Start every attempt that may start now, and come back when the next one may."""
        now = self._now()
        while self._queue:
            waiter = self._queue[0]
            if waiter.ready.done():
                heapq.heappop(self._queue)  # cancelled while waiting
                continue
            if refusal := self._ledger.refusal(waiter.ticket.kind):
                heapq.heappop(self._queue)
                waiter.ready.set_result(refusal)
                continue
            if not self._ledger.fits_now(waiter.ticket.kind):
                return  # until an attempt in flight ends, which calls this again
            wait = self._time_to_wait(now)
            if wait > _TOLERANCE:
                self._come_back(now, wait)
                return
            heapq.heappop(self._queue)
            self._start(waiter.ticket, now)
            waiter.ready.set_result(None)

    def _start(self, ticket: Ticket, now: float) -> None:
        self._open += 1
        self._ledger.sent(ticket.kind)
        self._next_start = max(now, self._next_start) + self._interval
        self._pace.started(now)

    def _end(self, ticket: Ticket) -> None:
        self._open -= 1
        self._ledger.came_back(ticket.kind)

    def _time_to_wait(self, now: float) -> float:
        """Seconds until the next attempt may start; 0 for now."""
        blocked = max(self._paused_until, self._next_start) - now
        if blocked > _TOLERANCE:
            return blocked
        if self._open >= self._window.size(now):
            # A full window opens when an attempt ends, and that calls `_let_go`.
            return _GROWTH_CHECK if not self._window.full else float("inf")
        return self._pace.wait(now)

    def _come_back(self, now: float, wait: float) -> None:
        if wait == float("inf"):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(wait, self._let_go)

    def _slow_down(self, retry_after: float | None, started: float) -> None:
        """Pause all orders, and learn from the refusal."""
        now = self._now()
        # Attempts that were under way when the pause began tell nothing new.
        first = now >= self._paused_until and started >= self._paused_until
        self._pace.refused(now, started, first=first)
        if first:
            self._window.refused(now, self._open)
            # The server's own wait counts, but not "at once" again and again.
            shortest = _FIRST_PAUSE if retry_after is None else _FIRST_PAUSE / 10
            pause = min(_LONGEST_PAUSE, shortest * 2.0**self._pauses) * (0.8 + 0.4 * self._chance())
            self._pauses = min(self._pauses + 1, 10)
            self._paused_until = now + max(pause, retry_after or 0.0)
        elif retry_after is not None:
            self._paused_until = max(self._paused_until, now + retry_after)


@attrs.define
class _Hold:
    """How long to keep a learned value, in seconds: doubled each time it is confirmed."""

    shortest: float
    length: float = attrs.field(init=False)
    _value: float = attrs.field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.length = self.shortest

    def learn(self, value: float) -> None:
        same = abs(value - self._value) <= _SAME * self._value
        self.length = min(_LONGEST_HOLD, 2 * self.length) if same else self.shortest
        self._value = value


@attrs.define
class Window:
    """How many requests may be open at once.

    Attributes:
        most: The upper limit.
    """

    most: int
    _size: float = attrs.field(init=False)
    _grown_at: float | None = attrs.field(default=None, init=False)
    _doubles_in: float = attrs.field(default=1.0, init=False)
    _hold: _Hold = attrs.field(factory=lambda: _Hold(shortest=1.0), init=False)

    def __attrs_post_init__(self) -> None:
        self._size = min(float(self.most), _START)

    @property
    def full(self) -> bool:
        """Whether it is at its upper limit."""
        return self._size >= self.most

    def size(self, now: float) -> int:
        """The number of requests that may be open now, at least 1."""
        if self._grown_at is None:
            self._grown_at = now
        if now > self._grown_at:
            self._size = min(float(self.most), self._size * 2 ** ((now - self._grown_at) / self._doubles_in))
            self._grown_at = now
        return int(self._size)

    def refused(self, now: float, still_open: int) -> None:
        """The server refused a request while it was handling `still_open` others."""
        self.size(now)
        self._hold.learn(max(1.0, still_open))
        self._size = max(1.0, min(self._size, 0.9 * still_open))
        self._grown_at = now + self._hold.length
        self._doubles_in = 2.0


@attrs.define
class Pace:
    """How fast requests may start.

    Attributes:
        rate: Starts per second, or `None` until something was refused.
    """

    rate: float | None = attrs.field(default=None, init=False)
    _allowance: float = attrs.field(default=0.0, init=False)
    _counted_at: float = attrs.field(default=0.0, init=False)
    _grows_at: float = attrs.field(default=0.0, init=False)
    _since: float | None = attrs.field(default=None, init=False)
    _refused_before: bool = attrs.field(default=False, init=False)
    _admitted: int = attrs.field(default=0, init=False)
    _hold: _Hold = attrs.field(factory=lambda: _Hold(shortest=2.0), init=False)

    def wait(self, now: float) -> float:
        """Seconds until the next request may start; 0 if it may start now."""
        if self.rate is None:
            return 0.0
        self._count(now, self.rate)
        return max(0.0, (1.0 - self._allowance) / self.rate)

    def started(self, now: float) -> None:
        """A request was started."""
        if self._since is None:
            self._since = now
        self._admitted += 1
        if self.rate is not None:
            self._count(now, self.rate)
            self._allowance -= 1

    def refused(self, now: float, started: float, *, first: bool) -> None:
        """The server refused a request.

        Args:
            now: When the refusal arrived.
            started: When the request was started.
            first: Whether it is the first refusal since the last pause. Later ones tell nothing new.
        """
        since = now if self._since is None else self._since
        if not self._refused_before or started >= since:
            self._admitted -= 1
        if not first:
            return
        if self._admitted < 1:
            # Nothing was admitted, so all that is known is that the rate is lower than before.
            self.rate = None if self.rate is None else max(self.rate / 2, _SLOWEST)
        elif now - since >= 0.5 or self.rate is None:  # a shorter time says little
            self.rate = self._admitted / max(now - since, 0.5)
            self._hold.learn(self.rate)
        self._since, self._admitted, self._refused_before = now, 0, True
        # A little below zero, since the server's clock is not ours.
        self._allowance, self._counted_at = -min(1.0, self.rate or 0.0), now
        self._grows_at = now + self._hold.length

    def _count(self, now: float, rate: float) -> None:
        growing_since = max(self._counted_at, self._grows_at)
        if now > growing_since:
            rate *= 2 ** ((now - growing_since) / 8.0)
            self.rate = rate
        # Starts saved up during a pause do not come all at once: they would be refused together.
        self._allowance = min(self._allowance + (now - self._counted_at) * rate, max(1.0, _BURST * rate))
        self._counted_at = now
