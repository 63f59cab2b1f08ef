"""Questions to the API that cost nothing, and so are asked again until they are answered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx

from aimlapi_images.account import Balance, LogPage, read_balance, read_log_page
from aimlapi_images.api.auth import BearerAuth
from aimlapi_images.api.exchange import describe, exchange
from aimlapi_images.api.response_parser import status_error
from aimlapi_images.dispatch.outcomes import Outcome, outcome_of
from aimlapi_images.dispatch.retry import RetryPolicy, backoff
from aimlapi_images.errors import (
    APIStatusError,
    ConnectionFailedError,
    ImageError,
    InvalidRequestError,
    OutcomeUnknownError,
)
from aimlapi_rest.api.account import get_billing, get_logs
from aimlapi_rest.models import GetLogsLogStatus
from aimlapi_rest.types import UNSET

LONGEST_SPAN: Final = timedelta(days=92)  # documented


class Queries:
    """Asks for the account's balance and log.

    Args:
        http: The client for the API.
        auth: The key for it.
        policy: How often a question is asked, and how long to wait in between.
        chance: Gives random numbers from 0 to 1.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        auth: BearerAuth,
        policy: RetryPolicy,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._http = http
        self._auth = auth
        self._policy = policy
        self._chance = chance

    async def balance(self) -> Balance:
        """Ask `GET /v2/billing`."""
        return read_balance(await self._ask(get_billing._get_kwargs()))

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
        """Ask `GET /v2/logs`."""
        start, end = _span(period, start, end)
        wanted: dict[str, Any] = {
            "period": period,
            "start": start,
            "end": end,
            "status": [status] if isinstance(status, str) else status and list(status),
            "model": model,
            "limit": _whole("limit", limit, at_least=1),
            "offset": _whole("offset", offset, at_least=0),
        }
        parts = get_logs._get_kwargs(**{name: UNSET if value is None else value for name, value in wanted.items()})
        return read_log_page(await self._ask(parts))

    async def _ask(self, parts: Mapping[str, Any]) -> object:
        """Ask until there is an answer, and decode it."""
        failures = 0
        while True:
            try:
                answer = await exchange(self._http, self._http.build_request(**parts), self._auth)
                if answer.status != 200 or answer.document is None:
                    raise status_error(answer)
                return answer.document
            except InvalidRequestError:
                raise
            except ImageError as error:
                failures += 1
                wait = self._wait(error, failures)
                if wait is None:
                    raise _free(error, str(parts["url"])) from error
            await asyncio.sleep(wait)

    def _wait(self, error: ImageError, failures: int) -> float | None:
        """Seconds until the question may be asked again, or `None` if that is no use."""
        asked = error.retry_after or 0.0 if isinstance(error, APIStatusError) else 0.0
        refused = outcome_of(error) is Outcome.REFUSED
        if refused or failures >= self._policy.attempts or asked > self._policy.longest_retry_after:
            return None
        return max(asked, backoff(self._policy, failures, self._chance()))


def _free(error: ImageError, path: str) -> ImageError:
    """The error as one of a question that costs nothing."""
    if type(error) is OutcomeUnknownError and isinstance(error.__cause__, Exception):
        return ConnectionFailedError(f"no whole answer from {path}: {describe(error.__cause__)}")
    error.may_be_billed = False
    return error


def _span(period: str | None, start: datetime | None, end: datetime | None) -> tuple[datetime | None, datetime | None]:
    """The span of time asked for, both ends in UTC; times without a zone are local.

    Raises:
        InvalidRequestError: The API would not take it.
    """
    if period is not None and (start or end):
        raise InvalidRequestError("period and start or end: the log takes either")
    if start is None and end is None:
        return None, None
    if start is None:
        raise InvalidRequestError("end without start")
    start, end = start.astimezone(UTC), (end or datetime.now(UTC)).astimezone(UTC)
    if not timedelta() <= end - start <= LONGEST_SPAN:
        raise InvalidRequestError(f"from {start} to {end}: the log takes up to {LONGEST_SPAN.days} days, forwards")
    return start, end


def _whole(name: str, value: int | None, *, at_least: int) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < at_least):
        raise InvalidRequestError(f"{name} is {value!r}, and has to be a whole number from {at_least} up")
    return value
