"""Whether and when something is tried again.

No retry library: what to do depends on whether the attempt may have been billed, a pause after a 429 belongs to the
whole client and not to one order, and such refusals do not use up attempts.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

import attrs

from aimlapi_images.api.outcome import Failure, Outcome
from aimlapi_images.config import not_negative, one_of, rule, whole_number
from aimlapi_images.errors import AuthenticationError, InsufficientCreditsError, RateLimitError

ResultT = TypeVar("ResultT")


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """When an order is sent again.

    Attempts that were not sent, or failed without being billed, are repeated up to `attempts` times. Refusals for
    the rate (429) are repeated until the API accepts the order or its deadline passes, and use up no attempts.
    Attempts that may have been billed are not repeated, unless `retry_unknown` says so.

    Attributes:
        attempts: Maximum number of attempts; 1 for no retries.
        first_wait: Seconds before the second attempt. Each further wait is twice as long.
        longest_wait: Maximum of these waits in seconds.
        longest_retry_after: If the API asks to wait for more seconds than this, the order fails at once.
        retry_unknown: What to do after an attempt that may have been billed. `never`: the order fails.
            `if-unbilled`: ask the provider's log, and send the order again if the attempt failed and so cost
            nothing. `always`: send it again, which may bill it twice.
        longest_log_wait: Seconds to wait for the attempt to appear in the log.

    Raises:
        InvalidRequestError: A value is out of range.
    """

    attempts: int = attrs.field(default=4, validator=rule(whole_number))
    first_wait: float = attrs.field(default=1.0, validator=rule(not_negative))
    longest_wait: float = attrs.field(default=30.0, validator=rule(not_negative))
    longest_retry_after: float = attrs.field(default=120.0, validator=rule(not_negative))
    retry_unknown: Literal["never", "if-unbilled", "always"] = attrs.field(
        default="never", validator=rule(one_of("never", "if-unbilled", "always"))
    )
    longest_log_wait: float = attrs.field(default=120.0, validator=rule(not_negative))


@attrs.frozen
class Retry:
    """The one retry loop: for orders, downloads and account calls."""

    policy: RetryPolicy
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random

    async def run(
        self,
        attempt: Callable[[], Awaitable[ResultT | Failure]],
        *,
        throttled: bool = False,
        before_wait: Callable[[Failure, float], Awaitable[None]] | None = None,
    ) -> ResultT | Failure:
        """Call `attempt` until it succeeds, or another one is pointless. Returns the success, or the last failure.

        If the attempts are `throttled`, the throttle handles `Outcome.LATER`. `before_wait` is called with each failure
        that is followed by another attempt, and the wait in seconds.
        """
        failures = 0
        while True:
            result = await attempt()
            if not isinstance(result, Failure):
                return result
            failures += not (throttled and result.outcome is Outcome.LATER)
            wait = decide(self.policy, result, failures, self.chance(), throttled=throttled)
            if wait is None:
                return result
            if before_wait is not None:
                await before_wait(result, wait)
            await self.sleep(wait)

    async def result(self, attempt: Callable[[], Awaitable[ResultT | Failure]]) -> ResultT:
        """Like `run`, but raise the error of the last failure."""
        result = await self.run(attempt)
        if isinstance(result, Failure):
            raise result.error()
        return result


def decide(
    policy: RetryPolicy, failure: Failure, failures: int, chance: float, *, throttled: bool = False
) -> float | None:
    """Seconds to wait before the next attempt, or `None` to give up.

    `failures` is the number of those that use up attempts, and `chance`, from 0 to 1, spreads the waits of many orders.
    """
    match failure.outcome:
        case Outcome.REFUSED:
            return None
        case Outcome.LATER if throttled:
            return None if asks_too_long(policy, failure) else max(0.0, failure.retry_after or 0.0)
        case Outcome.UNKNOWN if policy.retry_unknown != "always":
            return None
    if failures >= policy.attempts or (not throttled and asks_too_long(policy, failure)):
        return None
    return max(0.0 if throttled else failure.retry_after or 0.0, backoff(policy, failures, chance))


def backoff(policy: RetryPolicy, failures: int, chance: float) -> float:
    """`first_wait * 2 ** (failures - 1)`, at most `longest_wait`, reduced by up to half at random; in seconds."""
    longest = min(policy.longest_wait, policy.first_wait * 2.0 ** min(failures - 1, 60))
    return longest * (1 - chance / 2)


def stops_all(policy: RetryPolicy, failure: Failure) -> bool:
    """Whether every other order would fail in the same way, so that sending it is pointless."""
    return issubclass(failure.error_type, AuthenticationError | InsufficientCreditsError) or (
        failure.outcome is Outcome.LATER and asks_too_long(policy, failure)
    )


def asks_too_long(policy: RetryPolicy, failure: Failure) -> bool:
    """Whether there is no point in waiting for the server to accept requests again."""
    if issubclass(failure.error_type, RateLimitError) and failure.message.lower().startswith("free-tier limit"):
        return True  # documented: it lasts up to an hour, and does not say how long
    return (failure.retry_after or 0.0) > policy.longest_retry_after
