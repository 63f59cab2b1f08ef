"""How many requests may be open, and how fast they may start: learned from what the server refuses.

No I/O and no clock here: every method is given the time, in seconds.

A server refuses for one of two reasons, and does not say which: too many open requests, or too many started of
late. So both are learned, each on its own, and the stricter one rules. The window is cut to what the server
was holding when it refused. The rate needs two refusals: at each of them the server had nothing left to give,
so what it admitted in between, over the time in between, is what it gives.

Either grows again by itself, and is held still before it does; the longer, the more often it came out the same.
"""

from __future__ import annotations

from typing import Final

import attrs

_START: Final = 16.0  # requests that may be open before anything is known
_SAME: Final = 0.25  # a figure within this share of the last one counts as the same
_LONGEST_HOLD: Final = 60.0  # seconds
_SLOWEST: Final = 1 / 60  # starts a second
_AT_ONCE: Final = 0.25  # seconds whose starts may come in one moment


@attrs.define
class _Hold:
    """How long to be content with a figure, in seconds: doubled each time that it is confirmed."""

    shortest: float
    length: float = attrs.field(init=False)
    _figure: float = attrs.field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.length = self.shortest

    def learn(self, figure: float) -> None:
        same = abs(figure - self._figure) <= _SAME * self._figure
        self.length = min(_LONGEST_HOLD, 2 * self.length) if same else self.shortest
        self._figure = figure


@attrs.define
class Window:
    """How many requests may be open at once.

    Attributes:
        most: Never more than these.
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
        """Whether it is as large as it may get."""
        return self._size >= self.most

    def size(self, now: float) -> int:
        """How many may be open now, at least 1."""
        if self._grown_at is None:
            self._grown_at = now
        if now > self._grown_at:
            self._size = min(float(self.most), self._size * 2 ** ((now - self._grown_at) / self._doubles_in))
            self._grown_at = now
        return int(self._size)

    def refused(self, now: float, still_open: int) -> None:
        """The server refused one, while it went on with `still_open` others."""
        self.size(now)
        self._hold.learn(max(1.0, still_open))
        self._size = max(1.0, min(self._size, 0.9 * still_open))
        self._grown_at = now + self._hold.length
        self._doubles_in = 2.0


@attrs.define
class Pace:
    """How fast requests may start.

    Attributes:
        rate: Starts a second, or `None` as long as nothing was refused.
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
            now: When that was known.
            started: When the request was started.
            first: Whether it is the first refusal since the last pause. Others tell nothing new.
        """
        since = now if self._since is None else self._since
        if not self._refused_before or started >= since:
            self._admitted -= 1
        if not first:
            return
        if self._admitted < 1:
            # Nothing was admitted, so nothing can be reckoned: less than before, is all that is known.
            self.rate = None if self.rate is None else max(self.rate / 2, _SLOWEST)
        elif now - since >= 0.5 or self.rate is None:  # too short a time says little
            self.rate = self._admitted / max(now - since, 0.5)
            self._hold.learn(self.rate)
        self._since, self._admitted, self._refused_before = now, 0, True
        # A little less than nothing, as the server's clock is not ours.
        self._allowance, self._counted_at = -min(1.0, self.rate or 0.0), now
        self._grows_at = now + self._hold.length

    def _count(self, now: float, rate: float) -> None:
        growing_since = max(self._counted_at, self._grows_at)
        if now > growing_since:
            rate *= 2 ** ((now - growing_since) / 8.0)
            self.rate = rate
        # What was not used during a pause is not made up for at once: many starts in one moment are refused together.
        self._allowance = min(self._allowance + (now - self._counted_at) * rate, max(1.0, _AT_ONCE * rate))
        self._counted_at = now
