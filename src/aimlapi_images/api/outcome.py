"""How an exchange ended, from the point of view of the one who pays for it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import attrs

from aimlapi_images.errors import ImageError


class Outcome(enum.Enum):
    """Every failed attempt ends as exactly one of these. What may be done next follows from it."""

    NOT_SENT = "not sent"
    """No server was reached. Safe to send again."""

    REFUSED = "refused"
    """The API rejects this request, and would reject it again."""

    LATER = "retry later"
    """The API accepts no requests right now. Safe to send again when it says so."""

    FAILED = "failed, not billed"
    """The provider failed, and is documented or known not to bill for it. Safe to send again."""

    UNKNOWN = "unknown"
    """It may have been billed. Not sent again unless the caller wants that."""


@attrs.frozen
class Failure:
    """Why an attempt, a download or an order brought no image. An error is built from it once, to be raised.

    Attributes:
        outcome: What may be done next.
        error_type: The error to raise.
        message: Its message, or for an error status what the API said.
        note: Appended to the message.
        details: Further arguments of the error's constructor.
        retry_after: Seconds that the server asks to wait, or `None`.
        cause: The exception that led to it.
    """

    outcome: Outcome
    error_type: type[ImageError]
    message: str
    note: str = ""
    details: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    retry_after: float | None = None
    cause: BaseException | None = attrs.field(default=None, repr=False)

    @property
    def may_be_billed(self) -> bool:
        """Whether the attempt may have been billed."""
        return self.outcome is Outcome.UNKNOWN

    def error(self, *, note: str = "", **context: Any) -> ImageError:
        """Build the error. `context` are arguments that every `ImageError` takes, such as `order`."""
        details = {"may_be_billed": self.may_be_billed, **self.details, **context}
        error = self.error_type(self.message, note=self.note + note, **details)
        error.__cause__ = self.cause
        return error
