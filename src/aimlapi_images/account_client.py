"""The account behind a client, and the client's life."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from aimlapi_images.account import Balance, LogPage
from aimlapi_images.api.account import Queries
from aimlapi_images.api.http_clients import Connections
from aimlapi_images.dispatch.budget import Ledger
from aimlapi_images.orders import schema
from aimlapi_images.spending import Spending
from aimlapi_images.turnstile import Turnstile
from aimlapi_rest.models import GetLogsLogStatus


class AccountClient:
    """What can be asked without an order.

    Args:
        connections: To the API; closed with the client.
        queries: Ask the API.
        ledger: Knows what was spent.
    """

    def __init__(self, connections: Connections, queries: Queries, ledger: Ledger) -> None:
        self._connections = connections
        self._queries = queries
        self._ledger = ledger
        self._loading = asyncio.Lock()
        self._turnstile = Turnstile()

    async def _ready(self) -> None:
        """Check that the client may be used, and load what the checks of orders need."""
        self._connections.check_usable()
        await self._turnstile.go()
        if not schema.is_loaded():
            async with self._loading:
                if not schema.is_loaded():
                    await asyncio.to_thread(schema.load)

    @property
    def spending(self) -> Spending:
        """What this client's orders have cost so far, as far as the API said."""
        return self._ledger.spending

    async def balance(self) -> Balance:
        """What is left on the account.

        Raises:
            APIStatusError: The API refused, or failed again and again; the class says how.
            ConnectionFailedError: No answer came, and asking again did not help.
        """
        self._connections.check_usable()
        return await self._queries.balance()

    async def logs(
        self,
        *,
        period: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        status: GetLogsLogStatus | Sequence[GetLogsLogStatus] | None = None,
        model: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> LogPage:
        """One page of the provider's log, which has a row for each request, some time after it ended.

        Args:
            period: A span of time by its name, in place of `start` and `end`.
            start: The beginning of a span of at most 92 days. Local time, if it has no zone.
            end: Its end; now if `None`.
            status: Requests that ended so alone: `succeeded`, `failed`, or both.
            model: Requests for this model alone.
            limit: How many rows at the most.
            offset: How many rows to leave out.

        Raises:
            InvalidRequestError: The log cannot be asked that.
            APIStatusError: The API refused, or failed again and again; the class says how. It takes 200 such
                questions a minute.
            ConnectionFailedError: No answer came, and asking again did not help.
        """
        self._connections.check_usable()
        return await self._queries.logs(
            period=period, start=start, end=end, status=status, model=model, limit=limit, offset=offset
        )

    async def aclose(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        await self._connections.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
