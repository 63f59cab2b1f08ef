"""The emulator's `GET /v2/billing` and `GET /v2/logs`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import attrs
from starlette.requests import Request
from starlette.responses import Response

from aimlapi_images.emulator.answers import ApiError, json_answer
from aimlapi_images.emulator.request_log import Row
from aimlapi_images.emulator.state import State
from aimlapi_images.media.json_values import shown

_ROWS_A_PAGE: Final = 100
_PARAMETERS: Final = {"period", "start", "end", "status", "model", "limit", "offset"}


@attrs.frozen
class AccountEndpoints:
    """The endpoints for balance and log.

    Attributes:
        state: The state of the emulator.
    """

    state: State

    async def billing(self, request: Request) -> Response:
        """`GET /v2/billing`."""
        self._admit()
        return json_answer(request, {"current_balance": self.state.stats.balance, "currency": "USD"})

    async def logs(self, request: Request) -> Response:
        """`GET /v2/logs`, newest first."""
        asked = _Asked.read(request)
        self._admit()
        rows = [row.fields for row in self.state.log.rows(self.state.now()) if asked.covers(row)]
        page = rows[asked.offset : asked.offset + asked.limit]
        pagination = {
            "limit": asked.limit,
            "offset": asked.offset,
            "total": len(rows),
            "has_more": asked.offset + len(page) < len(rows),
        }
        return json_answer(request, {"data": page, "pagination": pagination})

    def _admit(self) -> None:
        if self.state.account_is_busy():
            raise ApiError(429, "Too Many Requests")


@attrs.frozen
class _Asked:
    """The parsed query of a log request."""

    start: datetime | None
    end: datetime | None
    status: tuple[str, ...]
    model: str | None
    limit: int
    offset: int

    @classmethod
    def read(cls, request: Request) -> _Asked:
        """Parse the query. Parameters that the API does not document are refused."""
        query = request.query_params
        if unknown := query.keys() - _PARAMETERS:
            raise _wrong(min(unknown), "there is no such parameter")
        period, model = query.get("period"), query.get("model")
        status = tuple(query.getlist("status"))
        for name, found in (("period", period), ("model", model)):
            if found == "":
                raise _wrong(name, "Expected a name, received ''")
        if wrong := [each for each in status if each not in ("succeeded", "failed")]:
            raise _wrong("status", f"Expected 'succeeded' | 'failed', received {shown(wrong[0])}")
        return cls(
            start=_time("start", query.get("start")),
            end=_time("end", query.get("end")),
            status=status,
            model=model,
            limit=_whole("limit", query.get("limit"), default=_ROWS_A_PAGE, at_least=1),
            offset=_whole("offset", query.get("offset"), default=0, at_least=0),
        )

    def covers(self, row: Row) -> bool:
        """Whether the query selects a row."""
        return (
            (self.start is None or row.created >= self.start)
            and (self.end is None or row.created <= self.end)
            and (not self.status or row.fields["status"] in self.status)
            and self.model in (None, row.fields["model"])
        )


def _whole(name: str, text: str | None, *, default: int, at_least: int) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 1_000 or int(text) < at_least:
        raise _wrong(name, f"Expected a whole number from {at_least} up, received {shown(text)}")
    return int(text)


def _time(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise _wrong(name, f"Expected a datetime, received {shown(text)}") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _wrong(name: str, message: str) -> ApiError:
    return ApiError(400, "Query validation error!", [{"message": f"{name}: {message}", "path": [name]}])
