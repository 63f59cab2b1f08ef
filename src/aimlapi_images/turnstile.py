"""Much that happens in one moment is done bit by bit, for the event loop to do other things in between."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

_A_TURN: Final = 8


class Turnstile:
    """Lets a few through in each turn of the event loop, first come, first served: hundreds may come at once."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._passed = 0

    async def go(self) -> None:
        """Go through, now or in one of the next turns."""
        loop = asyncio.get_running_loop()
        if self._passed < _A_TURN:
            if self._passed == 0:
                loop.call_soon(self._next_turn, loop)
            self._passed += 1
            return
        self._waiting.append(loop.create_future())
        await self._waiting[-1]

    def _next_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._passed = 0
        while self._waiting and self._passed < _A_TURN:
            waiter = self._waiting.popleft()
            if not waiter.done():  # by being cancelled
                waiter.set_result(None)
                self._passed += 1
        if self._passed:
            loop.call_soon(self._next_turn, loop)
