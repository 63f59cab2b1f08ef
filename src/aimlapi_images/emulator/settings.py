"""How an emulator behaves."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import attrs

from aimlapi_images.config import not_negative, one_of, optional, positive, rule, whole_number
from aimlapi_images.emulator.faults import fault
from aimlapi_images.errors import InvalidRequestError

# How long a generation takes at each quality, in proportion to `latency`. Invented, in the order of users' reports.
_LATENCY_BY_QUALITY: Final = {"low": 0.6, "medium": 1.0, "high": 2.5}

DRAWINGS: Final = ("landscape", "plain")


def _string(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidRequestError(f"{name} must be a non-empty string, not {value!r}")


def _number(name: str, value: Any) -> None:
    not_negative(name, abs(value) if isinstance(value, int | float) else value)


def _share(name: str, value: Any) -> None:
    not_negative(name, value)
    if value > 1:
        raise InvalidRequestError(f"{name} must be at most 1, not {value!r}")


def _rates(name: str, value: Any) -> None:
    for kind, rate in value.items():
        _share(f"the rate of {fault(kind).kind}", rate)
    if sum(value.values()) > 1 + 1e-9:
        raise InvalidRequestError(f"the rates of {name} must not exceed 1 together")


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of an emulator. All times are in seconds of the API, and are divided by `time_scale`.

    Attributes:
        api_key: The only key that is accepted; any key if `None`.
        latency: Duration of a generation of medium quality (low takes 0.6 and high 2.5 times as long).
        latency_spread: How far durations vary, as a fraction: 0.2 is from 20 % less to 20 % more.
        time_scale: How much faster time passes: at 100, a latency of 26 takes 0.26 s.
        rpm: Orders accepted in any 60 s; any number if `None`.
        max_concurrency: Orders in progress at a time; any number if `None`.
        retry_after: `Retry-After` of a 429; no such header if `None`.
        free_tier: Orders accepted in any hour; any number if `None`.
        account_rpm: Requests for balance and log answered in any 60 s, as documented.
        balance: The balance in US dollars. Orders that it does not cover are refused with 403.
        faults: The share of orders that each kind of fault hits, from 0 to 1, by kind. See `FAULTS`.
        seed: Makes faults and latencies repeatable: they depend on the prompt, and on how often it was sent. Random
            if `None`.
        log_delay: Time from the end of an order until the log shows it.
        url_expires: Time until an image's URL expires.
        explicit_nulls: Send `"url": null` beside `b64_json` and the like, as some of the documented examples do. Some
            clients take the field that is null.
        drawing: `landscape`, or `plain` for a single color, which is drawn in a few milliseconds.
    """

    api_key: str | None = attrs.field(default=None, repr=False, validator=rule(optional(_string)))
    latency: float = attrs.field(default=0.0, validator=rule(not_negative))
    latency_spread: float = attrs.field(default=0.0, validator=rule(_share))
    time_scale: float = attrs.field(default=1.0, validator=rule(positive))
    rpm: int | None = attrs.field(default=None, validator=rule(optional(whole_number)))
    max_concurrency: int | None = attrs.field(default=None, validator=rule(optional(whole_number)))
    retry_after: float | None = attrs.field(default=1.0, validator=rule(optional(not_negative)))
    free_tier: int | None = attrs.field(default=None, validator=rule(optional(partial(whole_number, at_least=0))))
    account_rpm: int | None = attrs.field(default=200, validator=rule(optional(whole_number)))
    balance: float = attrs.field(default=1_000_000.0, validator=rule(_number))
    faults: Mapping[str, float] = attrs.field(factory=dict, converter=dict, validator=rule(_rates))
    seed: int | None = attrs.field(default=None, validator=rule(optional(partial(whole_number, at_least=0))))
    log_delay: float = attrs.field(default=0.0, validator=rule(not_negative))
    url_expires: float = attrs.field(default=3600.0, validator=rule(positive))
    explicit_nulls: bool = False
    drawing: str = attrs.field(default="landscape", validator=rule(one_of(*DRAWINGS)))

    def duration(self, quality: str, chance: float) -> float:
        """Return how long an order takes, for a `chance` from 0 to 1."""
        varied = 1 + self.latency_spread * (2 * chance - 1)
        return self.latency * _LATENCY_BY_QUALITY.get(quality, 1.0) * varied
