"""The goals of the throttle, in virtual time, against servers that refuse for one reason or another."""

from __future__ import annotations

from functools import cache

import pytest

from aimlapi_images import ImageClient, ThrottleState
from aimlapi_images.api.outcome import Failure, Outcome
from aimlapi_images.dispatch.retry import RetryPolicy
from aimlapi_images.dispatch.throttle import Pace, Throttle
from aimlapi_images.errors import RateLimitError
from bench.laboratory import Run, Who, run
from bench.server_models import SITUATIONS
from conftest import KEY
from virtual_time import run_in_virtual_time

SETTINGS = [(0.5, 16), (26.0, 200)]  # seconds of a generation, and the client's max_concurrency
# Simulations, whose tracing would take longer than all else here; `test_throttle` covers each line.
pytestmark = pytest.mark.untraced
LIMITED = [name for name in SITUATIONS if name != "free tier's hour"]


@cache
def ran(name: str, who: Who, retry_after: bool, seconds: float = 0.5, at_once: int = 16, seed: int = 1) -> Run:
    return run(SITUATIONS[name], who, retry_after=retry_after, seconds=seconds, at_once=at_once, seed=seed)


def mean(name: str, who: Who, retry_after: bool, seeds: int = 8) -> float:
    """Average time of several runs: chance decides much where refusals come at random."""
    return sum(ran(name, who, retry_after, seed=seed).seconds for seed in range(seeds)) / seeds


@pytest.mark.parametrize("retry_after", [True, False])
@pytest.mark.parametrize(("seconds", "at_once"), SETTINGS)
@pytest.mark.parametrize("name", LIMITED)
def test_nothing_is_lost_and_plain_retries_are_hardly_faster(
    name: str, seconds: float, at_once: int, retry_after: bool
) -> None:
    ours = ran(name, "ours", retry_after, seconds, at_once)
    plain = ran(name, "plain", retry_after, seconds, at_once)

    assert ours.lost == 0
    assert ours.most_open <= at_once * SITUATIONS[name].clients
    assert ours.seconds <= 1.3 * plain.seconds


@pytest.mark.parametrize("retry_after", [True, False])
@pytest.mark.parametrize("at_once", [16, 200])
def test_a_token_bucket_is_used_fully_with_few_refusals(at_once: int, retry_after: bool) -> None:
    name = "token bucket, 20/s, burst 20"

    ours = ran(name, "ours", retry_after, at_once=at_once)

    assert ours.seconds <= 1.10 * ran(name, "oracle", True, at_once=at_once).seconds
    assert ours.refusals <= 30


@pytest.mark.parametrize("retry_after", [True, False])
@pytest.mark.parametrize(("name", "most"), [("refuses 1 of 11", 1.5), ("refuses 1 of 3", 3.0)])
def test_refusals_at_random_cost_little(name: str, most: float, retry_after: bool) -> None:
    assert mean(name, "ours", retry_after) <= most * ran(name, "oracle", True).seconds
    assert mean(name, "ours", retry_after) <= 1.3 * mean(name, "plain", retry_after)


@pytest.mark.parametrize("retry_after", [True, False])
@pytest.mark.parametrize(
    ("name", "again_at", "rate"), [("brown-out of 30 s", 33, 29), ("20/s, 5/s for 30 s, 20/s", 40, 20)]
)
def test_full_speed_is_back_within_ten_seconds(name: str, again_at: int, rate: float, retry_after: bool) -> None:
    accepted = ran(name, "ours", retry_after).accepted

    assert sum(again_at + 10 <= each < again_at + 14 for each in accepted) >= 0.85 * 4 * rate


@pytest.mark.parametrize("retry_after", [True, False])
def test_the_free_tiers_hour_fails_all_at_once(retry_after: bool) -> None:
    ours = ran("free tier's hour", "ours", retry_after)

    assert (ours.lost, ours.refusals) == (90, 6)
    assert ours.seconds < 1


def test_no_order_is_left_behind_at_a_rate_limit() -> None:
    assert ran("token bucket, 20/s, burst 20", "ours", False).longest_wait < 1


@pytest.mark.parametrize("early", [0.0, 5e-5])
def test_after_a_pause_only_one_attempt_probes_even_if_a_timer_is_early(early: float) -> None:
    pace = Pace()
    pace.wait(0.0)
    pace.started(0.0)
    pace.refused(0.0, 0.0, 1.0)

    waits = []
    for _ in range(2):
        waits.append(pace.wait(1.0 - early))
        pace.started(1.0 - early)

    assert waits == [0.0, pytest.approx(1.0)]


def test_the_state_says_why_orders_wait_and_changes_are_told_once() -> None:
    refusal = Failure(Outcome.LATER, RateLimitError, "", retry_after=4.0)

    async def main() -> list[ThrottleState | None]:
        throttle = Throttle(RetryPolicy(), max_concurrency=1)
        told = [throttle.change()]
        for result in (refusal, "image"):
            async with throttle.turn(throttle.ticket()) as turn:
                turn.result = result
            told += [throttle.change(), throttle.change()]
        return told

    nothing, paused, again, recovered, no_more = run_in_virtual_time(main())

    assert nothing is again is no_more is None
    assert paused is not None
    assert (paused.mode, paused.open, paused.queued, paused.paused_for) == ("paused", 0, 0, 4.0)
    assert "refuses nearly everything" in paused.reason
    assert recovered is not None
    assert (recovered.mode, recovered.reason) == ("full speed", "nothing is refused")


def test_a_refusal_halves_the_pace_for_a_while() -> None:
    pace = Pace()
    pace.wait(0.0)
    for _ in range(16):
        pace.started(0.0)

    pace.refused(1.0, 0.0, None)

    assert pace.mode(1.0) == "slowed"
    assert pace.known == 15.0
    assert pace.rate(1.0) == pytest.approx(7.5)
    assert pace.mode(60.0) == "full speed"


def test_the_state_says_why_in_words() -> None:
    slowed = ThrottleState("slowed", 15, 3, 0.0, 7.5, 15.0, 0.0)
    tolerant = ThrottleState("full speed", 15, 3, 0.0, None, 15.0, 0.1)

    assert slowed.reason == "the API admits about 15 attempts per second"
    assert tolerant.reason == "slowing down does not make its refusals rarer"


def test_the_throttle_of_a_new_client_can_be_read_anywhere() -> None:
    assert ImageClient(KEY).throttle == ThrottleState("full speed", 0, 0, 0.0, None, None, 0.0)
