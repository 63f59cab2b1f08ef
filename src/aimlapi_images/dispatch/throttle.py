"""One queue for a whole client: which attempt may start now, first come, first served.

A refused order (429) waits as `retry` says, keeps its place, and is sent again. All slow down only if that helps:

1. Before the first refusal, 16 attempts start at once and 16 a second, twice as many each second.
2. A refusal cuts the pace for a moment. It returns to the known rate, which is what the API admitted, stays near it,
   and then rises ever faster (a cubic curve, as in TCP). Refusals above the known rate mean that it is the limit.
3. Refusals below it mean that the known rate is too high: it is measured again, and cut.
4. If they stay as frequent after that, slowing down does not help: the known rate is restored, and that share of
   refusals is tolerated. Only refusals in excess of it count from then on.
5. If nearly everything is refused, all orders pause: as long as the API asks, or longer each time. Then one attempt
   probes. The pause is over when it is admitted, or not refused for a second.
"""

import asyncio
import heapq
import math
import time
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Final

import attrs

from aimlapi_images.api.outcome import Failure, Outcome
from aimlapi_images.dispatch.budget import Ledger
from aimlapi_images.dispatch.retry import RetryPolicy, stops_all
from aimlapi_images.events import ThrottleMode, ThrottleState

_TIMER_ERROR: Final = 1e-4  # seconds by which a timer may fire early
_RAMP, _SLOWEST = 16.0, 1 / 60  # starts at once, and per second at first; fewest starts per second
_RETURN: Final = 4.0  # seconds, time scale of the curve: the pace doubles about 7 s after a cut by half
_FIRST_CUT, _NEXT_CUT, _LIMIT_CUT = 0.5, 0.35, 0.1  # deep enough to see a difference, shallow at a known limit
_FORGIVEN: Final = 1 / 40  # refusals per start that never count: far fewer than overloaded APIs make
_MEMORY: Final = 1 / 200  # weight of one attempt in the share of refusals that is tolerated
_LATELY, _OUTAGE = 1 / 6, 0.75  # weight of one attempt in the recent share of refusals, and the share that pauses
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 6.0  # seconds, doubling: full speed is back within 10 s of an outage
_VERDICT: Final = 1.0  # seconds after which a probe that was not refused counts as admitted

Ticket = tuple[int, Hashable]  # a place in the queue, kept for all attempts, lowest first; what decides the price


@attrs.define
class Turn:
    """An attempt's turn. Its holder sets the result."""

    started: float  # when it came, in seconds
    refusal: Failure | None = None  # why the order is not sent at all, if it is not
    result: object = None  # what the attempt returned; `None` if cancelled


@attrs.define(eq=False)
class Throttle:
    """Lets attempts start one by one: within concurrency, pace and budget, and not during a pause."""

    policy: RetryPolicy  # which refusals are waited out
    max_concurrency: int  # attempts open at once
    requests_per_minute: float | None = None  # starts, evenly spread; any number if `None`
    ledger: Ledger = attrs.field(factory=Ledger)  # checks the budget, and tracks attempts in flight
    _pace: "Pace" = attrs.field(factory=lambda: Pace(), init=False)
    _tickets: int = attrs.field(default=0, init=False)
    _queue: list[tuple[Ticket, asyncio.Future[Turn]]] = attrs.field(factory=list, init=False)  # a heap
    _open: int = attrs.field(default=0, init=False)
    _next_start: float = attrs.field(default=0.0, init=False)
    _timer: asyncio.TimerHandle | None = attrs.field(default=None, init=False)
    _reported: ThrottleMode = attrs.field(default="full speed", init=False)

    def ticket(self, kind: Hashable = None) -> Ticket:
        """Take a place at the end of the queue, for an order of this kind: kinds differ in price."""
        self._tickets += 1
        return self._tickets, kind

    def state(self) -> ThrottleState:
        now, pace, queued = _now(), self._pace, sum(not ready.done() for _, ready in self._queue)
        mode, wait = pace.mode(now), max(0.0, pace.paused_until - now)
        rate = None if mode == "full speed" else pace.rate(now)
        return ThrottleState(mode, self._open, queued, wait, rate, pace.known, pace.tolerated)

    def change(self) -> ThrottleState | None:
        """The state, if its mode is another than at the last call."""
        before, self._reported = self._reported, self._pace.mode(_now())
        return None if self._reported == before else self.state()

    @asynccontextmanager
    async def turn(self, ticket: Ticket) -> AsyncIterator[Turn]:
        """Wait for a turn, and hold a slot for one attempt; or get a `refusal` if the order cannot succeed."""
        turn = await self._wait(ticket)
        try:
            yield turn
        finally:
            if turn.refusal is None:
                self._learn(turn)
                self._end(ticket)

    def _learn(self, turn: Turn) -> None:
        match turn.result:
            case Failure() as failure if stops_all(self.policy, failure):
                message = f"not sent, as another order was refused: {failure.message}"
                refusal = attrs.evolve(failure, outcome=Outcome.REFUSED, message=message)  # not to be queued again
                for _, ready in self._queue:
                    if not ready.done():
                        ready.set_result(Turn(_now(), refusal))
            case Failure(outcome=Outcome.LATER) as failure:
                self._pace.refused(_now(), turn.started, failure.retry_after)
            case None | Failure(outcome=Outcome.NOT_SENT):
                pass  # tells nothing about the API
            case _:
                self._pace.admitted(_now(), turn.started)

    async def _wait(self, ticket: Ticket) -> Turn:
        ready: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (ticket, ready))
        self._let_go()
        try:
            return await ready
        except asyncio.CancelledError:
            if ready.done() and not ready.cancelled() and ready.result().refusal is None:
                self._end(ticket)  # its turn came at the same moment: pass it on
            raise

    def _let_go(self) -> None:
        """Start every attempt that may start now, and come back when the next one may."""
        now = _now()
        while self._queue:
            (_, kind), ready = self._queue[0]
            if not ready.done():  # neither cancelled nor refused
                if (refusal := self.ledger.refusal(kind)) is None:
                    if self._open >= self.max_concurrency or not self.ledger.fits_now(kind):
                        return  # until an attempt ends, which calls this again
                    wait = max(self._next_start - now, self._pace.wait(now))
                    if wait > _TIMER_ERROR:
                        if self._timer is not None:
                            self._timer.cancel()
                        self._timer = asyncio.get_running_loop().call_later(wait, self._let_go)
                        return
                    self._open += 1
                    self.ledger.sent(kind)
                    self._next_start = max(now, self._next_start) + 60.0 / (self.requests_per_minute or math.inf)
                    self._pace.started(now)
                ready.set_result(Turn(now, refusal))
            heapq.heappop(self._queue)

    def _end(self, ticket: Ticket) -> None:
        self._open -= 1
        self.ledger.came_back(ticket[1])
        self._let_go()


@attrs.define
class Pace:
    """How fast attempts may start, by the mechanism above. Times are in seconds, rates in starts per second."""

    known: float | None = None  # the rate that the API admitted; `None` before the first refusal
    tolerated: float = 0.0  # share of attempts that is refused at any rate
    paused_until: float = 0.0
    _pauses: int = 0  # since an attempt was admitted
    _depth: float = 0.0  # of the last cut
    _doubtful: tuple[float, float] | None = None  # known rate and share of refusals before a cut that may not help
    _since: float = math.inf  # the last change of pace; attempts that started before it do not count
    _sent: int = 0  # since then
    _refused: int = 0  # since then
    _excess: float = 0.0  # refusals since then that are neither tolerated nor forgiven
    _lately: float = 0.0  # share of the latest attempts that was refused
    _allowance: float = _RAMP  # starts that are due
    _counted_at: float = math.inf

    def mode(self, now: float) -> ThrottleMode:
        slowed = self.known is not None and self._depth and self.rate(now) < 2 * self.known
        return "paused" if self._pauses else "slowed" if slowed else "full speed"

    def rate(self, now: float) -> float:
        if self.known is None:
            return _RAMP * math.exp2(min(60.0, now - self._since))
        curve = (now - self._since) / _RETURN - math.cbrt(self._depth)
        return max(_SLOWEST, self.known * (1 + curve**3))

    def wait(self, now: float) -> float:
        """Seconds until the next attempt may start."""
        self._since, self._counted_at = min(self._since, now), min(self._counted_at, now)
        if now < self.paused_until - _TIMER_ERROR:
            return self.paused_until - now
        if self._pauses and not self._sent:
            return 0.0  # a probe
        self.admitted(now, now)  # no probe was refused
        rate = self.rate(now)
        due = self._allowance + (now - self._counted_at) * rate
        self._allowance, self._counted_at = min(due, max(1.0, rate / 20, self._allowance)), now
        return min(0.25, (1 - self._allowance) / rate)  # not longer, as the rate grows

    def started(self, now: float) -> None:
        self._sent, self._allowance = self._sent + 1, self._allowance - 1
        self._lately *= 1 - _LATELY
        self.tolerated *= 1 - _MEMORY
        self._excess = max(0.0, self._excess - 2 * self.tolerated - _FORGIVEN)
        if self._pauses:
            self.paused_until = now + _VERDICT

    def admitted(self, now: float, started: float) -> None:
        """The API accepted an attempt. If it was a probe, the pause is over."""
        if self._pauses and started >= self._since:
            self._pauses, self._lately, self.paused_until = 0, 0.0, now
            self._count_again(now)

    def refused(self, now: float, started: float, retry_after: float | None) -> None:
        """The API refused an attempt for now. Slows down or pauses, if that is what it means."""
        self._lately += _LATELY
        if started >= self._since:
            self._refused, self._excess = self._refused + 1, self._excess + 1
            self.tolerated = min(0.5, self.tolerated + _MEMORY) if self.tolerated else 0.0
            above = self.known is None or self.rate(now) >= self.known
            nothing = self._sent == self._refused >= (1 if self.known is None else 3)
            if self._pauses or nothing or self._lately > _OUTAGE:
                first = _FIRST_PAUSE if retry_after is None else _FIRST_PAUSE / 4
                self.paused_until = now + min(_LONGEST_PAUSE, first * 2.0 ** min(self._pauses, 10))
                self._pauses, self.tolerated = self._pauses + 1, 0.0
                self._count_again(now)
            elif self._excess >= (1 if above or self._doubtful else 2) + 10 * self.tolerated:
                self._cut(now, above=above)
        if self._pauses:
            self.paused_until = max(self.paused_until, now + (retry_after or 0.0))

    def _cut(self, now: float, *, above: bool) -> None:
        """Slow down after refusals above or below the known rate, or find that it does not help."""
        share, rate = self._refused / max(1, self._sent), self.rate(now)
        admitted = (self._sent - self._refused) / max(now - self._since, 0.5)
        if self.known is None:
            self.known, self._depth = admitted, _FIRST_CUT
        elif above:  # twice the mean of a rising curve, and no rate that was never used
            self.known, self._depth, self._doubtful = max(self.known, min(0.8 * rate, 2 * admitted)), _LIMIT_CUT, None
        elif self._doubtful is None or share < self._doubtful[1] / 2:
            self._doubtful = self._doubtful[0] if self._doubtful else self.known, share
            self.known, self._depth = min(rate, max(rate / 2, admitted)), _NEXT_CUT
        else:
            self.known, self.tolerated = self._doubtful[0], min(share, self._doubtful[1], 0.5)
            self._depth, self._doubtful = 0.0, None
        self._count_again(now)

    def _count_again(self, now: float) -> None:
        self._since = self._counted_at = now
        self._sent, self._refused, self._excess, self._allowance = 0, 0, 0.0, 0.0


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:  # asked for the state by other code
        return time.monotonic()
