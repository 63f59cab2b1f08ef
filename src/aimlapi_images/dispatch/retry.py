"""Whether and when an order is sent again: a pure decision on how its last attempt ended.

Own code, and not a retry library's: what to do depends on whether the attempt may have been billed, what the
API asked for is waited for by the whole client and not by one order, and refusals for the rate do not count.
"""

from __future__ import annotations

from typing import Literal

import attrs

from aimlapi_images.dispatch.outcomes import Outcome, outcome_of
from aimlapi_images.errors import (
    APIStatusError,
    AuthenticationError,
    ImageError,
    InsufficientCreditsError,
    InvalidRequestError,
    RateLimitError,
)


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """When an order is sent again.

    What was not sent, or failed without being billed, is tried `attempts` times. What the API refuses for the
    rate is tried until it is taken, or until the order's `deadline`: that uses up no attempts. What may have
    been billed is not sent again, unless `retry_unknown` says so.

    Attributes:
        attempts: How often at the most, 1 for no retries.
        first_wait: Seconds before the second attempt; twice that before the next, and so on.
        longest_wait: Seconds, at the most.
        longest_retry_after: If the API asks to wait for more seconds than this, the order fails at once.
        retry_unknown: What is done after an attempt that may have been billed. `never`: the order fails.
            `if-unbilled`: the provider's log is asked, and the order is sent again if that says that the attempt
            failed, and so cost nothing. `always`: it is sent again, and may be billed twice.
        longest_log_wait: Seconds to wait for the attempt to appear in the log.
    """

    attempts: int = 4
    first_wait: float = 1.0
    longest_wait: float = 30.0
    longest_retry_after: float = 120.0
    retry_unknown: Literal["never", "if-unbilled", "always"] = "never"
    longest_log_wait: float = 120.0

    def __attrs_post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise InvalidRequestError(f"attempts is {self.attempts!r}, and has to be a whole number from 1 up")
        for name in ("first_wait", "longest_wait", "longest_retry_after", "longest_log_wait"):
            if not getattr(self, name) >= 0:
                raise InvalidRequestError(f"{name} is {getattr(self, name)!r}, and has to be 0 seconds or more")
        if self.retry_unknown not in ("never", "if-unbilled", "always"):
            raise InvalidRequestError(
                f"retry_unknown is {self.retry_unknown!r}, and has to be 'never', 'if-unbilled' or 'always'"
            )


def decide(policy: RetryPolicy, error: ImageError, failures: int, chance: float) -> float | None:
    """Whether to send an order again after a failed attempt.

    Args:
        policy: The caller's wishes.
        error: How it failed.
        failures: How many attempts failed in a way that counts, this one included if it does.
        chance: A random number from 0 to 1, to spread the waits of many orders.

    Returns:
        Seconds that this order waits before it queues again, or `None` to give up and raise the error.
    """
    match outcome_of(error):
        case Outcome.REFUSED:
            return None
        case Outcome.LATER:
            return None if _too_long(error, policy) else 0.0
        case Outcome.UNKNOWN if policy.retry_unknown != "always":
            return None
    if failures >= policy.attempts:
        return None
    return backoff(policy, failures, chance)


def backoff(policy: RetryPolicy, failures: int, chance: float) -> float:
    """`first_wait * 2 ** (failures - 1)`, at most `longest_wait`, less up to half of it by chance; in seconds."""
    longest = min(policy.longest_wait, policy.first_wait * 2.0 ** min(failures - 1, 60))
    return longest * (1 - chance / 2)


def stops_all(policy: RetryPolicy, error: ImageError) -> bool:
    """Whether every other order would end in the same way, so that there is no point in sending it."""
    return isinstance(error, AuthenticationError | InsufficientCreditsError) or (
        outcome_of(error) is Outcome.LATER and _too_long(error, policy)
    )


def _too_long(error: ImageError, policy: RetryPolicy) -> bool:
    """Whether there is no point in waiting for the API to take requests again."""
    if isinstance(error, RateLimitError) and error.message.lower().startswith("free-tier limit"):
        return True  # documented: it lasts up to an hour, and does not say how long
    return isinstance(error, APIStatusError) and (error.retry_after or 0.0) > policy.longest_retry_after
