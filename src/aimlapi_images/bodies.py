"""Bodies are received a few at a time: so many that arrive together would fill the memory and keep the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

import httpx

_AT_ONCE: Final = 32
_PATIENCE: Final = 0.2  # seconds


class BodyGate:
    """Lets a number of bodies be received at once. The others wait at their servers.

    A body that stalls does not hold up the others: its place is given away until more of it comes.

    Args:
        at_once: How many.
        patience: Seconds after which a body has stalled.
    """

    def __init__(self, at_once: int = _AT_ONCE, patience: float = _PATIENCE) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._patience = patience

    async def pieces(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        """The body in pieces as they come, decompressed. To be closed by the caller (`contextlib.aclosing`)."""
        place = _Place(self._places)
        call_later = asyncio.get_running_loop().call_later
        pieces = response.aiter_bytes()
        try:
            while True:
                await place.take()
                timer = call_later(self._patience, place.give_back)
                try:
                    piece = await anext(pieces, None)
                finally:
                    timer.cancel()
                if piece is None:
                    return
                yield piece
        finally:
            place.give_back()


class _Place:
    """A place that may be held or not."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self._held = False

    async def take(self) -> None:
        if not self._held:
            await self._places.acquire()
            self._held = True

    def give_back(self) -> None:
        if self._held:
            self._held = False
            self._places.release()
