"""One queue for a whole client: which attempt may start now, first come, first served.

An order that is refused for now (429) waits as long as the API asks, keeps its place, and is sent again. `pace`
decides whether all orders slow down. Limits of concurrency, rate and budget that the caller sets always hold.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import NamedTuple

import attrs

from aimlapi_images.api.outcome import Failure, Outcome
from aimlapi_images.dispatch.budget import Ledger
from aimlapi_images.dispatch.pace import TOLERANCE, Pace
from aimlapi_images.dispatch.retry import RetryPolicy, stops_all
from aimlapi_images.events import ThrottleMode, ThrottleState


class Ticket(NamedTuple):
    """An order's place in the queue, kept for all attempts; the lowest number goes first. `kind` decides the price."""

    number: int
    kind: Hashable


@attrs.define
class Turn:
    """An attempt's turn.

    Attributes:
        refusal: Why the order is not sent at all, if it is not.
        result: What the attempt returned, set by its holder; `None` if cancelled.
    """

    refusal: Failure | None = None
    result: object = None


class _Waiter(NamedTuple):
    """Sorted by its ticket's number, which is unique. `ready` becomes the attempt's number, or a refusal."""

    ticket: Ticket
    ready: asyncio.Future[Failure | int]


class Throttle:
    """Lets attempts start one by one: within concurrency, pace and budget, and not during a pause.

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
        self._most = max_concurrency
        self._interval = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._ledger = ledger or Ledger()
        self._pace = Pace(chance)
        self._now = clock or _loop_time
        self._numbers = itertools.count()
        self._queue: list[_Waiter] = []
        self._open = 0
        self._next_start = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._reported: ThrottleMode = "full speed"

    def ticket(self, kind: Hashable = None) -> Ticket:
        """Take a place at the end of the queue, for an order of this kind: kinds differ in price."""
        return Ticket(next(self._numbers), kind)

    def state(self) -> ThrottleState:
        """What the throttle does now."""
        queued = sum(not waiter.ready.done() for waiter in self._queue)
        return self._pace.state(self._now(), self._open, queued)

    def change(self) -> ThrottleState | None:
        """The state, if its mode is another than at the last call."""
        before, self._reported = self._reported, self._pace.mode(self._now())
        return None if self._reported == before else self.state()

    @asynccontextmanager
    async def turn(self, ticket: Ticket) -> AsyncIterator[Turn]:
        """Wait for a turn, and hold a slot for one attempt.

        The turn has a `refusal` instead if the order cannot succeed: another order found that there are no credits,
        the key is wrong or the API asks for too long a wait; or the budget does not allow it.
        """
        number = await self._wait(ticket)
        if isinstance(number, Failure):
            yield Turn(number)
            return
        turn, started = Turn(), self._now()
        try:
            yield turn
        finally:
            self._end(ticket)
            self._learn(turn.result, number, started)
            self._let_go()

    def _learn(self, result: object, number: int, started: float) -> None:
        if isinstance(result, Failure) and stops_all(self._policy, result):
            message = f"not sent, as another order was refused: {result.message}"
            refusal = attrs.evolve(result, outcome=Outcome.REFUSED, message=message)  # not to be queued again
            waiting, self._queue = self._queue, []
            for waiter in waiting:
                if not waiter.ready.done():
                    waiter.ready.set_result(refusal)
        elif isinstance(result, Failure) and result.outcome is Outcome.LATER:
            self._pace.refused(self._now(), number, started, result.retry_after)
        elif result is not None and not (isinstance(result, Failure) and result.outcome is Outcome.NOT_SENT):
            self._pace.admitted(self._now(), started)

    async def _wait(self, ticket: Ticket) -> Failure | int:
        waiter = _Waiter(ticket, asyncio.get_running_loop().create_future())
        heapq.heappush(self._queue, waiter)
        self._let_go()
        try:
            return await waiter.ready
        except asyncio.CancelledError:
            if waiter.ready.done() and not waiter.ready.cancelled() and isinstance(waiter.ready.result(), int):
                self._end(ticket)  # its turn came at the same moment: pass it on
                self._let_go()
            raise

    def _let_go(self) -> None:
        """Start every attempt that may start now, and come back when the next one may."""
        now = self._now()
        while self._queue:
            waiter = self._queue[0]
            refusal = None if waiter.ready.done() else self._ledger.refusal(waiter.ticket.kind)
            if waiter.ready.done() or refusal:
                heapq.heappop(self._queue)
                if refusal:  # otherwise it was cancelled while waiting
                    waiter.ready.set_result(refusal)
                continue
            if self._open >= self._most or not self._ledger.fits_now(waiter.ticket.kind):
                return  # until an attempt ends, which calls this again
            wait = max(self._next_start - now, self._pace.wait(now))
            if wait > TOLERANCE:
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = asyncio.get_running_loop().call_later(wait, self._let_go)
                return
            heapq.heappop(self._queue)
            self._open += 1
            self._ledger.sent(waiter.ticket.kind)
            self._next_start = max(now, self._next_start) + self._interval
            waiter.ready.set_result(self._pace.started(now))

    def _end(self, ticket: Ticket) -> None:
        self._open -= 1
        self._ledger.came_back(ticket.kind)


def _loop_time() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:  # asked for the state by other code
        return time.monotonic()
