"""What became of an attempt that brought no answer: the provider's log knows."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from aimlapi_images.account import LogEntry
from aimlapi_images.api.account import Queries

_ENDED: Final = ("succeeded", "failed")
_INTERVAL: Final = 3.0  # seconds between two looks at the log
_PER_PAGE: Final = 0.6  # seconds more for each page read: 200 requests a minute are allowed, and others may ask, too
_PAGE: Final = 100
_PAGES: Final = 50
_CLOCKS_DIFFER: Final = timedelta(minutes=5)


class LogWatch:
    """Looks for attempts in the provider's log: one look for all that are waited for.

    Args:
        queries: Asks for the log.
        patience: Seconds to wait for a row. It appears some time after the request has ended.
    """

    def __init__(self, queries: Queries, patience: float) -> None:
        self._queries = queries
        self._patience = patience
        self._waiting: dict[str, datetime] = {}
        self._found: dict[str, LogEntry] = {}
        self._looking = asyncio.Lock()
        self._next_look = 0.0

    async def find(self, request_id: str, sent_at: datetime) -> LogEntry | None:
        """Wait until the log tells how an attempt ended.

        Args:
            request_id: The attempt's client request id.
            sent_at: When it was sent.

        Returns:
            Its row, or `None` if there was none in time.

        Raises:
            ImageError: The log could not be read.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + self._patience
        self._waiting[request_id] = sent_at
        try:
            async with asyncio.timeout_at(until):
                while True:
                    async with self._looking:
                        if clock() >= self._next_look and request_id not in self._found:
                            pages = await self._look()
                            self._next_look = clock() + _INTERVAL + _PER_PAGE * pages
                    if request_id in self._found:
                        return self._found[request_id]
                    await asyncio.sleep(self._next_look - clock())
        except TimeoutError:
            return None
        finally:
            del self._waiting[request_id]
            self._found.pop(request_id, None)

    async def _look(self) -> int:
        """Read the log from the first attempt on that is waited for; the number of pages."""
        start = min(self._waiting.values()) - _CLOCKS_DIFFER
        end = datetime.now(UTC) + _CLOCKS_DIFFER
        for number in range(_PAGES):
            page = await self._queries.logs(start=start, end=end, limit=_PAGE, offset=number * _PAGE)
            for entry in page.entries:
                if entry.client_request_id in self._waiting and entry.status in _ENDED:
                    self._found[entry.client_request_id] = entry
            if not page.has_more or self._waiting.keys() <= self._found.keys():
                return number + 1
        return _PAGES
