"""How far an order has come: asked for when its time is up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from aimlapi_images.errors import DeadlineExceededError, ImageError

_PHASES: Final = {
    "queue": "the wait for its turn",
    "request": "the wait for the API's answer",
    "backoff": "the wait before another attempt",
    "log": "the wait for the provider's log to tell of it",
    "observer": "the wait for the observer",
    "download": "the download",
}


@attrs.define
class Progress:
    """How far an order has come.

    Attributes:
        phase: What it is doing: `queue`, `request`, `backoff`, `log`, `observer` or `download`.
        attempts: How many times it was sent.
        last_error: How the last attempt failed, if it did.
        may_be_billed: Whether one of the attempts that failed may have been.
        answered: Whether the API has answered with an image: it is paid for.
        not_reported: Why the observer could not be told of something that is paid for.
    """

    phase: str = "queue"
    attempts: int = 0
    last_error: ImageError | None = None
    may_be_billed: bool = False
    answered: bool = False
    not_reported: Exception | None = None

    def enter(self, phase: str) -> None:
        """Begin with another phase."""
        self.phase = phase

    def failed(self, error: ImageError) -> None:
        """Remember how an attempt failed."""
        self.last_error = error
        self.may_be_billed = self.may_be_billed or error.may_be_billed

    def deadline_exceeded(self, order: str, deadline: float | None, urls: Sequence[str] = ()) -> DeadlineExceededError:
        """The error that says where the order was when its `deadline`, in seconds, was reached.

        Args:
            order: The order's id.
            deadline: In seconds.
            urls: Where images are that were not fetched.
        """
        billed = self.may_be_billed or self.answered or self.phase in ("request", "log")
        bill = "is" if self.answered else "may be" if billed else "is not"
        images = "image is" if len(urls) == 1 else f"{len(urls)} images are"
        where = f", and its {images} at {', '.join(urls)}" if urls else ""
        last = f"; the last one ended with: {self.last_error.args[0]}" if self.last_error else ""
        attempts = f"{self.attempts} attempt{'' if self.attempts == 1 else 's'}"
        return DeadlineExceededError(
            f"the deadline of {deadline} s was reached during {_PHASES[self.phase]}, after {attempts}; "
            f"it {bill} billed{where}{last}",
            phase=self.phase,
            may_be_billed=billed,
            urls=tuple(urls),
            order=order,
        )
