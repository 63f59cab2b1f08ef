"""Bodies are received a few at a time: so many that arrive together would fill the memory and keep the event loop."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import Final

import httpx

_AT_ONCE: Final = 16
_SECONDS: Final = 0.2
_LITTLE: Final = 128 * 2**10
_LATE: Final = 1 / 20  # of the seconds: an event loop that is so late has more to do than the servers
_EXCUSES: Final = 10


def announced_length(response: httpx.Response) -> int:
    """How many bytes a body will have, or 0 if its headers do not say."""
    length = response.headers.get("content-length", "")
    return int(length) if re.fullmatch(r"[0-9]{1,15}", length) and "content-encoding" not in response.headers else 0


class BodyGate:
    """Lets a number of bodies be received at once. The others wait at their servers.

    One that stalls or comes slowly does not hold up the others: its place is given away until it is its turn again.
    Until then, the system goes on receiving for it, as much as fits its buffer. Where it is this program that is slow,
    bodies keep their places for some seconds: with more of them under way it would only need more memory.

    Args:
        at_once: How many.
        seconds: After so long, it is looked at how much has come.
        little: A body that brings fewer bytes in that time is slow.
    """

    def __init__(self, at_once: int = _AT_ONCE, seconds: float = _SECONDS, little: int = _LITTLE) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._seconds = seconds
        self._little = little

    async def pieces(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        """The body in pieces as they come, decompressed. To be closed by the caller (`contextlib.aclosing`)."""
        place = _Place(self._places, self._seconds, self._little)
        plain = "content-encoding" not in response.headers and not response.is_stream_consumed
        pieces = response.aiter_raw() if plain else response.aiter_bytes()
        try:
            while True:
                await place.take()
                piece = await anext(pieces, None)
                if piece is None:
                    return
                place.came += len(piece)
                yield piece
                del piece  # not to be held while it waits
        finally:
            place.leave()


class _Place:
    """A place that may be held or not, and is taken from those who make little of it.

    Attributes:
        came: How many bytes came since this was looked at.
    """

    def __init__(self, places: asyncio.Semaphore, seconds: float, little: int) -> None:
        self.came = 0
        self._places = places
        self._seconds = seconds
        self._little = little
        self._held = False
        self._excuses = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def take(self) -> None:
        """Hold the place from now on."""
        if not self._held:
            await self._places.acquire()
            self._held = True
            self._begin()

    def leave(self) -> None:
        """Give the place back for good."""
        if self._timer is not None:
            self._timer.cancel()
        self._give_back()

    def _begin(self) -> None:
        self.came = self._excuses = 0
        self._wait()

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self._seconds
        self._timer = loop.call_at(self._due, self._look)

    def _look(self) -> None:
        late = asyncio.get_running_loop().time() - self._due > self._seconds * _LATE
        if self.came >= self._little:
            self._begin()
        elif late and self._excuses < _EXCUSES:
            self._excuses += 1
            self._wait()
        else:
            self._give_back()

    def _give_back(self) -> None:
        if self._held:
            self._held = False
            self._places.release()
