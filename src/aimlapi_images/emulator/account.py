"""The account of the emulator: its balance, and a log with one row for each request."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aimlapi_images.emulator.answers import ApiError, correlation
from aimlapi_images.models import CREDITS_PER_USD

Endpoint = Callable[[Request], Awaitable[Response]]

_ROWS_KEPT: Final = 10_000
_ROWS_A_PAGE: Final = 100
_PARAMETERS: Final = {"period", "start", "end", "status", "model", "limit", "offset"}


@attrs.define
class Account:
    """An account with a balance and a log.

    Attributes:
        balance: The remaining balance in US dollars.
    """

    balance: float
    _rows: deque[dict[str, Any]] = attrs.field(factory=lambda: deque(maxlen=_ROWS_KEPT), init=False, repr=False)

    def charged(self, endpoint: Endpoint) -> Endpoint:
        """Wrap an endpoint so that its requests are charged and logged."""

        async def paid(request: Request) -> Response:
            if self.balance <= 0:
                raise ApiError(403, "You've run out of credits. Please top up your balance in your account settings.")
            try:
                response = await endpoint(request)
            except HTTPException:
                self._log(request, "failed", 0.0)
                raise
            usd = float(response.headers.get("x-aimlapi-usd-spent", 0.0))
            self.balance -= usd
            self._log(request, "succeeded", usd)
            return response

        return paid

    def _log(self, request: Request, status: str, usd: float) -> None:
        ids = correlation(request)
        self._rows.appendleft(
            {
                "created": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "status": status,
                "origin": "api",
                "model": getattr(request.state, "model", None),
                "cost": {"usd": usd, "credits": round(usd * CREDITS_PER_USD)},
                "tokens": {"input": 0, "output": 0, "total": 0},
                "request_id": None,
                "inference_id": ids["x-inference-id"],
                "client_request_id": ids.get("x-client-request-id"),
            }
        )

    async def billing(self, request: Request) -> Response:
        """`GET /v2/billing`."""
        return JSONResponse(
            {"current_balance": round(self.balance, 6), "currency": "USD"}, headers=correlation(request)
        )

    async def logs(self, request: Request) -> Response:
        """`GET /v2/logs`, newest first."""
        asked = _Asked.read(request)
        rows = [row for row in self._rows if asked.covers(row)]
        page = rows[asked.offset : asked.offset + asked.limit]
        pagination = {
            "limit": asked.limit,
            "offset": asked.offset,
            "total": len(rows),
            "has_more": asked.offset + len(page) < len(rows),
        }
        return JSONResponse({"data": page, "pagination": pagination}, headers=correlation(request))


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
            raise _wrong("status", f"Expected 'succeeded' | 'failed', received {wrong[0]!r}")
        return cls(
            start=_time("start", query.get("start")),
            end=_time("end", query.get("end")),
            status=status,
            model=model,
            limit=_whole("limit", query.get("limit"), default=_ROWS_A_PAGE, at_least=1),
            offset=_whole("offset", query.get("offset"), default=0, at_least=0),
        )

    def covers(self, row: Mapping[str, Any]) -> bool:
        """Whether the query selects a row."""
        created = datetime.fromisoformat(row["created"])
        return (
            (self.start is None or created >= self.start)
            and (self.end is None or created <= self.end)
            and (not self.status or row["status"] in self.status)
            and self.model in (None, row["model"])
        )


def _whole(name: str, text: str | None, *, default: int, at_least: int) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 1_000 or int(text) < at_least:
        raise _wrong(name, f"Expected a whole number from {at_least} up, received {text!r}")
    return int(text)


def _time(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise _wrong(name, f"Expected a datetime, received {text!r}") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _wrong(name: str, message: str) -> ApiError:
    return ApiError(400, "Query validation error!", [{"message": f"{name}: {message}", "path": [name]}])
