"""How far an order has come."""

from __future__ import annotations

import secrets
import time
from typing import Final

import attrs

from aimlapi_images.api.outcome import Failure, Outcome
from aimlapi_images.dispatch.delivery import Delivery
from aimlapi_images.dispatch.throttle import Ticket
from aimlapi_images.errors import DeadlineExceededError
from aimlapi_images.events import Observer
from aimlapi_images.media.json_values import shorten_url
from aimlapi_images.orders.order import Order

_PHASES: Final = {
    "queue": "waiting for its turn",
    "request": "waiting for the API's answer",
    "backoff": "waiting before another attempt",
    "log": "waiting for the provider's log",
    "observer": "waiting for the observer",
    "download": "downloading",
}


@attrs.define
class Progress:
    """How far an order has come."""

    order: Order
    observers: tuple[Observer | None, ...] = ()
    ticket: Ticket = (0, None)  # its place in the queue
    phase: str = "queue"  # as in `DeadlineExceededError`
    started: float = attrs.field(factory=time.monotonic)  # in seconds
    # So that an order id that is used again, in this run or another, is never settled by an earlier attempt's log row.
    nonce: str = attrs.field(factory=lambda: secrets.token_hex(4))
    attempts: int = 0  # how many times it was sent
    last_failure: Failure | None = None
    may_be_billed: bool = False  # because of an attempt that failed
    delivery: Delivery | None = None  # once the API has answered: from then on the order is paid for
    observer_error: Exception | None = None  # why the observer could not be told about a paid image

    def deadline_failure(self, deadline: float | None, cause: BaseException) -> Failure:
        """The failure that says where the order was when its deadline, in seconds, passed."""
        urls = self.delivery.missing_urls if self.delivery else ()
        paid = self.delivery is not None
        may_be_billed = paid or self.may_be_billed or self.phase in ("request", "log")
        billed = "it is billed" if paid else "it may be billed" if may_be_billed else "it is not billed"
        where = f", and its image URLs are {', '.join(map(shorten_url, urls))}" if urls else ""
        last = f"; the last attempt ended with: {self.last_failure.error()}" if self.last_failure else ""
        attempts = f"{self.attempts} attempt{'' if self.attempts == 1 else 's'}"
        message = f"the deadline of {deadline} s passed while {_PHASES[self.phase]}, after {attempts}; "
        message += f"{billed}{where}{last}"
        outcome = Outcome.UNKNOWN if may_be_billed else Outcome.REFUSED
        details = {"phase": self.phase, "urls": urls}
        return Failure(outcome, DeadlineExceededError, message, details=details, cause=cause)
