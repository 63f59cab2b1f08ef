"""How fast attempts start, learned from refusals: do they become rarer when less is sent?

1. Before the first refusal, attempts start at 16 a second, twice as many each second.
2. The first refusal halves the pace for a moment. It returns to the rate that the server admitted, stays near it, and
   rises ever faster (a cubic curve). A refusal above that rate means that the limit is ours, and costs a tenth.
3. Refusals below it mean that the rate was measured too high, so it is measured again since the last cut, and cut.
4. If refusals stay as frequent, they are not our doing: the cuts are undone, and that share of refusals is tolerated.
   Only refusals in excess of it count from then on.
5. If nothing is admitted, or hardly any of the last 8 attempts, everyone pauses: as long as the server asks, or longer
   each time. Then one attempt probes, until one is not refused within a second.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Final

import attrs

from aimlapi_images.events import ThrottleMode, ThrottleState

TOLERANCE: Final = 1e-4  # seconds by which a timer may fire early
_RAMP: Final = 16.0  # starts at once, and per second, before anything is known; doubles each second
_HOLD, _RETURN = 0.7, 4.0  # seconds at the pace after a cut, and the time scale of its return
_FIRST_CUT, _NEXT_CUT, _LIMIT_CUT = 0.5, 0.35, 0.1  # shares by which the pace is cut
_SLOWEST: Final = 1 / 60  # starts per second
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 6.0  # seconds, when the server does not say for how long
_VERDICT: Final = 1.0  # seconds after which a probe that was not refused counts as admitted
_MEMORY: Final = 1 / 200  # weight of one attempt in the share of refusals that is tolerated


@attrs.define
class Pace:
    """How fast attempts may start. Times are in seconds, rates in starts per second."""

    chance: Callable[[], float]
    known: float | None = None  # the rate that the server admitted; `None` before the first refusal
    tolerated: float = 0.0  # share of attempts that is refused at any rate
    paused_until: float = 0.0
    _cut_at: float = 0.0
    _depth: float = 0.0  # of the last cut
    _before: float = 0.0  # the known rate before cuts that did not help
    _share: float = 0.0  # of attempts that were refused before the second such cut; 0 if there was none
    _since: float = 0.0  # when counting began
    _sent: int = 0
    _refused: int = 0
    _suspicion: float = 0.0  # refusals that are neither tolerated nor forgotten
    _allowance: float = _RAMP  # starts
    _counted_at: float | None = None
    _ramp_at: float = 0.0
    _number: int = 0  # of the latest attempt
    _lately: deque[int] = attrs.field(factory=lambda: deque(maxlen=8))  # numbers of refused attempts
    _pauses: int = 0  # since an attempt was admitted
    _probe_at: float | None = None

    def mode(self, now: float) -> ThrottleMode:
        slowed = self._depth and self.rate(now) < 2 * (self.known or 0.0)
        return "paused" if self._pauses else "slowed" if slowed else "full speed"

    def state(self, now: float, open_now: int, queued: int) -> ThrottleState:
        mode, wait = self.mode(now), max(0.0, self.paused_until - now)
        rate = None if mode == "full speed" else self.rate(now)
        return ThrottleState(mode, open_now, queued, wait, rate, self.known, self.tolerated)

    def rate(self, now: float) -> float:
        ramp = _RAMP * math.exp2(min(60.0, now - self._ramp_at))
        if self.known is None:
            return ramp
        curve = max(0.0, now - self._cut_at - _HOLD) / _RETURN - math.cbrt(self._depth)
        return max(_SLOWEST, min(ramp, self.known * (1 + curve**3)))

    def wait(self, now: float) -> float:
        """Seconds until the next attempt may start."""
        if self._counted_at is None:
            self._counted_at = self._ramp_at = self._since = now
        if now < self.paused_until:
            return self.paused_until - now
        if self._pauses:
            if self._probe_at is None or now < self._probe_at + _VERDICT - TOLERANCE:
                return 0.0 if self._probe_at is None else self._probe_at + _VERDICT - now
            self.admitted(now, now)
        rate = self.rate(now)
        grown = self._allowance + (now - self._counted_at) * rate
        self._allowance, self._counted_at = min(grown, max(1.0, rate / 20, self._allowance)), now
        return min(0.25, (1 - self._allowance) / rate)  # not longer, as the rate grows

    def started(self, now: float) -> int:
        """Count an attempt. Returns its number."""
        self._probe_at = now
        self._allowance -= 1
        self._sent += 1
        self._suspicion = max(0.0, self._suspicion - 2 * self.tolerated - 1 / 40)
        self.tolerated *= 1 - _MEMORY
        self._number += 1
        return self._number

    def admitted(self, now: float, started: float) -> None:
        """The server accepted an attempt: if it was a probe, the pause is over."""
        if self._pauses and started >= self.paused_until:
            self._pauses, self._ramp_at = 0, now
            self._lately.clear()
            self._count_again(now)

    def refused(self, now: float, number: int, started: float, retry_after: float | None) -> None:
        """The server refused an attempt, to be sent again. Slows down or pauses, if that is what it means."""
        self._lately.append(number)
        new = started >= self._cut_at  # the others were sent before the last cut, and tell nothing about it
        self._refused += new
        nothing = self._sent == self._refused >= (1 if self.known is None else 3)
        if self._pauses or sum(number - 8 < each for each in self._lately) > 6 or (new and nothing):
            self._pause(now, started, retry_after)
        elif new:
            self._suspicion += 1
            self.tolerated = min(0.5, self.tolerated + _MEMORY) if self.tolerated else 0.0
            above = self.known is None or self.rate(now) >= self.known
            if self._suspicion >= (1 if above or self._share else 2) + 10 * self.tolerated:
                self._cut(now, above=above)

    def _cut(self, now: float, *, above: bool) -> None:
        """Slow down after a refusal above or below the known rate, or find that it does not help."""
        share = self._refused / max(1, self._sent)
        if not above and self._share and share >= self._share / 4:
            self.tolerated, self.known, self._depth = min(share, self._share), self._before, 0.0
            self._share = self._suspicion = 0.0
        else:
            rate, known = self.rate(now), self.known
            measured = (self._sent - self._refused) / max(now - self._since, 0.5)
            if known is not None:
                measured = min(rate, max(rate / 2, measured / (1 - self.tolerated)))
            self.known = max(measured, known, 0.8 * rate) if above and known else measured
            self._before = (known or measured) if above else self._before
            self._depth = _FIRST_CUT if known is None else _LIMIT_CUT if above else _NEXT_CUT
            self._share = 0.0 if above else share
            self._suspicion = max(0.0, self._suspicion - 1) if above else 0.0
        self._cut_at = now
        self._count_again(now)

    def _count_again(self, now: float) -> None:
        self._since = self._counted_at = now
        self._sent, self._refused, self._allowance = 0, 0, 0.0

    def _pause(self, now: float, started: float, retry_after: float | None) -> None:
        if started >= self.paused_until:
            if self.tolerated > 0.01 and not self._pauses:  # these refusals can be avoided after all
                self.tolerated = 0.0
                self._cut(now, above=True)
            first = _FIRST_PAUSE if retry_after is None else _FIRST_PAUSE / 4
            pause = min(_LONGEST_PAUSE, first * 2.0**self._pauses) * (0.8 + 0.4 * self.chance())
            self._pauses = min(self._pauses + 1, 10)
            self.paused_until, self._probe_at = now + pause, None
        self.paused_until = max(self.paused_until, now + (retry_after or 0.0))
