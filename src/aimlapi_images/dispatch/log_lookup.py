"""Ask the provider's log what became of attempts that brought no answer."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from aimlapi_images.api.account import Account
from aimlapi_images.api.outcome import Failure
from aimlapi_images.dispatch.retry import Retry
from aimlapi_images.models import LogEntry

_ENDED: Final = ("succeeded", "failed")
_INTERVAL: Final = 3.0  # seconds between two reads of the log
_PER_PAGE: Final = 0.6  # further seconds for each page: 200 requests a minute are allowed, for all programs together
_PAGE_SIZE: Final = 100
_MAX_PAGES: Final = 50
_CLOCK_SKEW: Final = timedelta(minutes=5)


class LogLookup:
    """Looks up attempts in the provider's log, with one read for all that are waited for."""

    def __init__(self, account: Account, retry: Retry) -> None:
        self._account = account
        self._retry = retry
        self._waiting: dict[str, datetime] = {}
        self._found: dict[str, LogEntry] = {}
        self._reading = asyncio.Lock()
        self._next_read = 0.0

    async def find(self, request_id: str, sent_at: datetime) -> LogEntry | Failure | None:
        """The log's entry of an attempt, once it has ended; `None` if none appears, or why the log is unreadable."""
        clock = asyncio.get_running_loop().time
        self._waiting[request_id] = sent_at
        try:
            async with asyncio.timeout(self._retry.policy.longest_log_wait):
                while True:
                    async with self._reading:
                        if clock() >= self._next_read and request_id not in self._found:
                            pages = await self._read()
                            if isinstance(pages, Failure):
                                return pages
                            self._next_read = clock() + _INTERVAL + _PER_PAGE * pages
                    if request_id in self._found:
                        return self._found[request_id]
                    await asyncio.sleep(self._next_read - clock())
        except TimeoutError:
            return None
        finally:
            del self._waiting[request_id]
            self._found.pop(request_id, None)

    async def _read(self) -> int | Failure:
        """Read the log from the earliest attempt waited for. Returns the number of pages."""
        start = min(self._waiting.values()) - _CLOCK_SKEW
        end = datetime.now(UTC) + _CLOCK_SKEW
        for number in range(_MAX_PAGES):
            span = {"start": start, "end": end, "limit": _PAGE_SIZE, "offset": number * _PAGE_SIZE}
            page = await self._retry.run(partial(self._account.logs, **span))
            if isinstance(page, Failure):
                return page
            for entry in page.entries:
                if entry.client_request_id in self._waiting and entry.status in _ENDED:
                    self._found[entry.client_request_id] = entry
            if not page.has_more or self._waiting.keys() <= self._found.keys():
                return number + 1
        return _MAX_PAGES
