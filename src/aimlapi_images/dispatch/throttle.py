"""Who may go now: one queue for a whole client, first come, first served."""

from __future__ import annotations

import asyncio
import copy
import heapq
import itertools
import random
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from aimlapi_images.dispatch.budget import Ledger
from aimlapi_images.dispatch.outcomes import Outcome, outcome_of
from aimlapi_images.dispatch.pacing import Pace, Window
from aimlapi_images.dispatch.retry import RetryPolicy, stops_all
from aimlapi_images.errors import APIStatusError, BudgetExceededError, ImageError

_FIRST_PAUSE: Final = 0.5  # seconds, when the server refuses and does not say for how long
_LONGEST_PAUSE: Final = 30.0
_NOW: Final = 1e-4  # seconds: a timer may come this much too early
_GROWTH_CHECK: Final = 0.02  # seconds between looks at a window that is growing


class Ticket(NamedTuple):
    """An order's place in the queue. It keeps it when it has to come back.

    Attributes:
        number: Its place; the lowest goes first.
        order: The order's id.
        kind: What decides the order's price.
    """

    number: int
    order: str
    kind: Hashable


class _Waiter(NamedTuple):
    """Sorted by its number, of which there is only one."""

    ticket: Ticket
    ready: asyncio.Future[None]


class Throttle:
    """Lets orders go one attempt at a time: within window, pace and budget, and not during a pause.

    Args:
        policy: What is waited for.
        max_concurrency: How many attempts may be under way at once, at the most.
        requests_per_minute: How many may start in a minute, evenly spread; any number if `None`.
        ledger: Whether there is money for it; is told what is in flight.
        chance: Gives random numbers from 0 to 1.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        max_concurrency: int,
        requests_per_minute: float | None = None,
        ledger: Ledger | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._policy = policy
        self._window = Window(most=max_concurrency)
        self._pace = Pace()
        self._interval = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._ledger = ledger or Ledger()
        self._chance = chance
        self._numbers = itertools.count()
        self._queue: list[_Waiter] = []
        self._open = 0
        self._next_start = 0.0
        self._paused_until = 0.0
        self._pauses = 0  # without a success in between
        self._timer: asyncio.TimerHandle | None = None

    def ticket(self, order: str, kind: Hashable = None) -> Ticket:
        """Take a place at the end of the queue.

        Args:
            order: The order's id.
            kind: What decides its price.
        """
        return Ticket(next(self._numbers), order, kind)

    @asynccontextmanager
    async def turn(self, ticket: Ticket) -> AsyncIterator[None]:
        """Wait for a turn, and hold a slot for one attempt. What it raises is learned from.

        Raises:
            APIStatusError: While waiting, another order found that none can succeed: there are no credits, the key
                is wrong, or the API asks for too long a wait.
            BudgetExceededError: There is no money for it.
        """
        await self._wait(ticket)
        started = _now()
        try:
            yield
        except ImageError as error:
            self._ended(ticket)
            if isinstance(error, APIStatusError):
                if stops_all(self._policy, error):
                    self._fail_queued(error)  # before the next one is let go
                elif outcome_of(error) is Outcome.LATER:
                    self._slow_down(error, started)
            raise
        except BaseException:
            self._ended(ticket)
            raise
        else:
            self._ended(ticket)
            self._pauses = 0
        finally:
            self._let_go()

    def _fail_queued(self, error: APIStatusError) -> None:
        """Fail every order that is still waiting: it would be refused for the same reason."""
        waiting, self._queue = self._queue, []
        for waiter in waiting:
            if not waiter.ready.done():
                own = copy.copy(error)
                own.order = waiter.ticket.order
                own.args = (f"not sent, as another order was refused: {error.args[0]}",)
                waiter.ready.set_exception(own)

    async def _wait(self, ticket: Ticket) -> None:
        waiter = _Waiter(ticket, asyncio.get_running_loop().create_future())
        heapq.heappush(self._queue, waiter)
        self._let_go()
        try:
            await waiter.ready
        except asyncio.CancelledError:
            if waiter.ready.done() and not waiter.ready.cancelled() and waiter.ready.exception() is None:
                # It was let go in the very moment: the slot is for the next one.
                self._ended(ticket)
                self._let_go()
            raise

    def _let_go(self) -> None:
        """Let everybody go who may, and come back when the next one may."""
        now = _now()
        while self._queue:
            waiter = self._queue[0]
            if waiter.ready.done():
                heapq.heappop(self._queue)  # cancelled while waiting
                continue
            try:
                if not self._ledger.admits(waiter.ticket.kind, waiter.ticket.order):
                    return  # until one of those in flight ends, which comes here by itself
            except BudgetExceededError as error:
                heapq.heappop(self._queue)
                waiter.ready.set_exception(error)
                continue
            later = self._time_to_wait(now)
            if later > _NOW:
                self._come_back(now + later)
                return
            heapq.heappop(self._queue)
            self._started(waiter.ticket, now)
            waiter.ready.set_result(None)

    def _started(self, ticket: Ticket, now: float) -> None:
        self._open += 1
        self._ledger.sent(ticket.kind)
        self._next_start = max(now, self._next_start) + self._interval
        self._pace.started(now)

    def _ended(self, ticket: Ticket) -> None:
        self._open -= 1
        self._ledger.came_back(ticket.kind)

    def _time_to_wait(self, now: float) -> float:
        """Seconds until the next one may be let go; 0 for now."""
        blocked = max(self._paused_until, self._next_start) - now
        if blocked > _NOW:
            return blocked
        if self._open >= self._window.size(now):
            # A full window opens when a request ends, and that comes here by itself.
            return _GROWTH_CHECK if not self._window.full else float("inf")
        return self._pace.wait(now)

    def _come_back(self, when: float) -> None:
        if when == float("inf"):
            return
        if self._timer is not None:
            if not self._timer.cancelled() and self._timer.when() <= when and self._timer.when() > _now():
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._let_go)

    def _slow_down(self, error: APIStatusError, started: float) -> None:
        """Pause everybody, and learn from the refusal."""
        now = _now()
        # Those that were under way when the pause began say nothing new.
        first = now >= self._paused_until and started >= self._paused_until
        self._pace.refused(now, started, first=first)
        if first:
            self._window.refused(now, self._open)
            # What the server asks for rules, but not "at once" again and again.
            shortest = _FIRST_PAUSE if error.retry_after is None else _FIRST_PAUSE / 10
            pause = min(_LONGEST_PAUSE, shortest * 2.0**self._pauses) * (0.8 + 0.4 * self._chance())
            self._pauses = min(self._pauses + 1, 10)
            self._paused_until = now + max(pause, error.retry_after or 0.0)
        elif error.retry_after is not None:
            self._paused_until = max(self._paused_until, now + error.retry_after)


def _now() -> float:
    return asyncio.get_running_loop().time()
