"""How an attempt ended, from the view of the one who pays: what may be done next follows from that."""

from __future__ import annotations

import enum

from aimlapi_images.errors import APIStatusError, ConnectionFailedError, ImageError, RateLimitError, ServerError


class Outcome(enum.Enum):
    """Every attempt ends as exactly one of these."""

    NOT_SENT = "not sent"
    """Nobody was reached. It can be sent again."""

    REFUSED = "refused"
    """The API does not take this request, and will not take it a second time."""

    LATER = "come back later"
    """The API takes no requests just now. It can be sent again when the API says so."""

    FAILED = "failed, not billed"
    """The model's provider failed. Documented as not billed, so it can be sent again."""

    UNKNOWN = "unknown"
    """It may have been billed. It must not be sent again unless the caller wants that."""


def outcome_of(error: ImageError) -> Outcome:
    """Classify a failed attempt."""
    match error:
        case ConnectionFailedError():
            return Outcome.NOT_SENT
        case RateLimitError():
            return Outcome.LATER
        case ServerError() if error.status == 503 and error.retry_after is not None:
            return Outcome.LATER
        case _ if error.may_be_billed:
            return Outcome.UNKNOWN
        case ServerError():
            return Outcome.FAILED
        case _ if error.log is not None and error.log.status == "failed":
            return Outcome.FAILED
        case APIStatusError():
            return Outcome.REFUSED
    return Outcome.REFUSED
