"""The account at the API: its balance, and its log of requests. Read from answers; no I/O here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from aimlapi_images.media.json_values import mapping, number, sequence, text
from aimlapi_images.spending import Usage, usage_of


@attrs.frozen
class Balance:
    """What is left on the account.

    Attributes:
        amount: In `currency`, or `None` if the API did not say.
        currency: As `USD`, or `None` if the API did not say.
    """

    amount: float | None
    currency: str | None


@attrs.frozen(kw_only=True)
class LogEntry:
    """One request, as the provider's log has it. What the log does not say is `None`.

    Attributes:
        created: When, in the API's own notation.
        status: `succeeded` or `failed`. What failed was not billed.
        origin: Where it came from.
        model: The model.
        usage: What it cost.
        tokens: Input, output and total tokens, by these names.
        request_id: The API's id of the HTTP request.
        inference_id: As the answer's `x-inference-id`.
        client_request_id: As it was sent: for an order of this package, `<order>.<attempt>`.
    """

    created: str | None = None
    status: str | None = None
    origin: str | None = None
    model: str | None = None
    usage: Usage = attrs.field(factory=Usage)
    tokens: Mapping[str, int] = attrs.field(factory=dict)
    request_id: str | None = None
    inference_id: str | None = None
    client_request_id: str | None = None

    @property
    def order(self) -> str | None:
        """The order that it was an attempt of, if it was one of this package."""
        order, dot, attempt = (self.client_request_id or "").rpartition(".")
        return order if dot and attempt.isascii() and attempt.isdigit() else None


@attrs.frozen
class LogPage:
    """A part of the log.

    Attributes:
        entries: The requests, in the API's order.
        total: How many there are in all, or `None` if the API did not say.
        has_more: Whether there are more after these.
    """

    entries: tuple[LogEntry, ...]
    total: int | None
    has_more: bool


def read_balance(document: object) -> Balance:
    """Read the answer of `GET /v2/billing`."""
    fields = mapping(document)
    return Balance(amount=number(fields.get("current_balance")), currency=text(fields.get("currency")) or None)


def read_log_page(document: object) -> LogPage:
    """Read the answer of `GET /v2/logs`. How it names its list of rows is not documented: any list is taken."""
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
        usage=usage_of(number(cost.get("credits")), number(cost.get("usd"))),
        tokens={name: int(count) for name, count in counts.items() if count is not None},
        **{name: text(row.get(name)) or None for name in texts},
    )
