"""How an exchange ended, from the point of view of the one who pays for it."""

import enum
from collections.abc import Mapping
from typing import Any

import attrs

from aimlapi_images.errors import ImageError


class Outcome(enum.Enum):
    """Every failed attempt ends as exactly one of these. What may be done next follows from it."""

    NOT_SENT = "not sent"  # no server was reached: safe to send again
    REFUSED = "refused"  # the API rejects this request, and would reject it again
    LATER = "retry later"  # the API accepts no requests right now: safe to send again when it says so
    FAILED = "failed, not billed"  # as documented, or known from the log: safe to send again
    UNKNOWN = "unknown"  # it may have been billed: not sent again unless the caller wants that


@attrs.frozen
class Failure:
    """Why an attempt, a download or an order brought no image. An error is built from it once, to be raised."""

    outcome: Outcome
    error_type: type[ImageError]
    message: str  # of an error status: what the API said
    note: str = ""  # appended to the message
    details: Mapping[str, Any] = attrs.field(factory=dict, repr=False)  # further arguments of the error
    retry_after: float | None = None  # seconds that the server asks to wait
    cause: BaseException | None = attrs.field(default=None, repr=False)

    @property
    def may_be_billed(self) -> bool:
        return self.outcome is Outcome.UNKNOWN

    def error(self, *, note: str = "", **context: Any) -> ImageError:
        """Build the error. `context` are arguments that every `ImageError` takes, such as `order`."""
        details = {"may_be_billed": self.may_be_billed, **self.details, **context}
        error = self.error_type(self.message, note=self.note + note, **details)
        error.__cause__ = self.cause
        return error
