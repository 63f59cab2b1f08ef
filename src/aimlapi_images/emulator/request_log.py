"""The provider's log: one row for each request for images."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from aimlapi_images.models import CREDITS_PER_USD

_ROWS_KEPT: Final = 10_000


@attrs.frozen
class Ids:
    """What identifies a request.

    Attributes:
        request_id: The id in the bodies of errors.
        inference_id: The id in the header `x-inference-id` of every answer.
        client_request_id: The caller's own id, if it is valid.
    """

    request_id: str
    inference_id: str
    client_request_id: str | None

    @property
    def headers(self) -> dict[str, str]:
        """The headers of an answer."""
        headers = {"x-inference-id": self.inference_id}
        if self.client_request_id is not None:
            headers["x-client-request-id"] = self.client_request_id
        return headers


@attrs.frozen
class Row:
    """A row of the log.

    Attributes:
        fields: What the API shows.
        created: When the request was made.
        visible: When the row appears, in seconds since the epoch.
    """

    fields: Mapping[str, Any]
    created: datetime
    visible: float


class RequestLog:
    """The rows, newest first. The oldest are dropped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: deque[Row] = deque(maxlen=_ROWS_KEPT)

    def add(self, ids: Ids, *, created: float, visible: float, model: str | None, usd: float | None) -> None:
        """Add a row.

        Args:
            ids: What identifies the request.
            created: When the request was made, in seconds since the epoch.
            visible: When the row appears.
            model: The model that the request names.
            usd: The cost in US dollars; `None` if the request failed.
        """
        time = datetime.fromtimestamp(created, UTC)
        fields = {
            "created": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "status": "failed" if usd is None else "succeeded",
            "origin": "api",
            "model": model,
            "cost": {"usd": usd or 0.0, "credits": round((usd or 0.0) * CREDITS_PER_USD)},
            "tokens": {"input": 0, "output": 0, "total": 0},
            "request_id": ids.request_id,
            "inference_id": ids.inference_id,
            "client_request_id": ids.client_request_id,
        }
        with self._lock:
            self._rows.appendleft(Row(fields, time, visible))

    def rows(self, now: float) -> list[Row]:
        """The rows that can be seen at a time."""
        with self._lock:
            return [row for row in self._rows if row.visible <= now]
