"""The account's balance and the provider's log. Reading them costs nothing, so every failure is safe to retry."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs

from aimlapi_images.api.exchange import Exchange, describe
from aimlapi_images.api.outcome import Failure, Outcome
from aimlapi_images.api.response_parser import status_failure
from aimlapi_images.config import whole_number
from aimlapi_images.errors import ConnectionFailedError, InvalidRequestError, OutcomeUnknownError
from aimlapi_images.media.json_values import mapping, number, sequence, text
from aimlapi_images.models import Balance, LogEntry, LogPage, Usage
from aimlapi_rest.api.account import get_billing, get_logs
from aimlapi_rest.types import UNSET

MAX_LOG_SPAN: Final = timedelta(days=92)  # documented


@attrs.frozen
class Account:
    """Asks the API once for each call."""

    exchange: Exchange

    async def balance(self) -> Balance | Failure:
        document = await self._get(get_billing._get_kwargs())
        return document if isinstance(document, Failure) else read_balance(document)

    async def logs(self, **query: Any) -> LogPage | Failure:
        document = await self._get(get_logs._get_kwargs(**_log_parameters(**query)))
        return document if isinstance(document, Failure) else read_log_page(document)

    async def _get(self, parts: Mapping[str, Any]) -> object | Failure:
        answer = await self.exchange(self.exchange.http.build_request(**parts))
        if not isinstance(answer, Failure):
            if answer.status == 200 and answer.document is not None:
                return answer.document
            answer = status_failure(answer)
        if answer.outcome is not Outcome.UNKNOWN:
            return answer
        if answer.error_type is OutcomeUnknownError and isinstance(answer.cause, Exception):
            message = f"no complete answer from {parts['url']}: {describe(answer.cause)}"
            return attrs.evolve(answer, outcome=Outcome.FAILED, error_type=ConnectionFailedError, message=message)
        return attrs.evolve(answer, outcome=Outcome.FAILED, note="")  # which speaks of the bill


def read_balance(document: object) -> Balance:
    """Read the answer of `GET /v2/billing`."""
    fields = mapping(document)
    return Balance(amount=number(fields.get("current_balance")), currency=text(fields.get("currency")) or None)


def read_log_page(document: object) -> LogPage:
    """Read the answer of `GET /v2/logs`. The name of its list of rows is not documented, so any list is taken."""
    fields = mapping(document)
    rows = sequence(document) or next((each for each in fields.values() if isinstance(each, list)), [])
    pagination = mapping(fields.get("pagination"))
    total = number(pagination.get("total"))
    return LogPage(
        entries=tuple(_entry(row) for row in rows if isinstance(row, dict)),
        total=None if total is None else int(total),
        has_more=pagination.get("has_more") is True,
    )


def _entry(row: Mapping[str, Any]) -> LogEntry:
    cost, tokens = mapping(row.get("cost")), mapping(row.get("tokens"))
    counts = {name: number(count) for name, count in tokens.items()}
    created = row.get("created")
    texts = ("status", "origin", "model", "request_id", "inference_id", "client_request_id")
    return LogEntry(
        created=None if created is None else str(created),
        usage=Usage.from_costs(number(cost.get("credits")), number(cost.get("usd"))),
        tokens={name: int(count) for name, count in counts.items() if count is not None},
        **{name: text(row.get(name)) or None for name in texts},
    )


def _log_parameters(
    *,
    period: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    status: str | Sequence[str] | None = None,
    limit: int | None = None,
    offset: int | None = None,
    **others: Any,
) -> dict[str, Any]:
    """The parameters for the generated module; an `InvalidRequestError` if the API would not accept them."""
    for name, value, least in (("limit", limit, 1), ("offset", offset, 0)):
        if value is not None:
            whole_number(name, value, at_least=least)
    start, end = _span(period, start, end)
    statuses = [status] if isinstance(status, str) else status and list(status)
    for each in (period, *(statuses or ()), *others.values()):
        if each is not None and (not isinstance(each, str) or not each.isprintable()):
            raise InvalidRequestError(f"the log is narrowed by names, not by {each!r}")
    parameters = {"period": period, "start": start, "end": end, "status": statuses, "limit": limit, "offset": offset}
    return {name: UNSET if value is None else value for name, value in {**parameters, **others}.items()}


def _span(period: str | None, start: datetime | None, end: datetime | None) -> tuple[datetime | None, datetime | None]:
    """Both ends of the time span in UTC. Times without a zone are local."""
    if period is not None and (start or end):
        raise InvalidRequestError("the log takes either period, or start and end")
    if start is None and end is None:
        return None, None
    if start is None:
        raise InvalidRequestError("end needs a start")
    try:
        start, end = start.astimezone(UTC), (end or datetime.now(UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:  # years 0 and 10000
        raise InvalidRequestError(f"the log has no entries from {start} to {end or 'now'}: {error}") from error
    if not timedelta() <= end - start <= MAX_LOG_SPAN:
        raise InvalidRequestError(f"the log covers at most {MAX_LOG_SPAN.days} days forwards, not {start} to {end}")
    return start, end
