"""What is sent again, and when: the decision as tables, then whole orders in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_images import ImageClient, RetryPolicy, errors
from aimlapi_images.api.outcome import Failure, Outcome
from aimlapi_images.api.response_parser import HTTPAnswer, status_failure
from aimlapi_images.dispatch.retry import Retry, backoff, decide
from conftest import KEY, PIXEL, PIXEL_ANSWER, Script, without_nonces
from virtual_time import run_in_virtual_time

OK = httpx.Response(200, json=PIXEL_ANSWER)


def refusal(status: int, retry_after: str | None = None, message: str = "No.") -> Failure:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return status_failure(HTTPAnswer(status, headers, f'{{"message": "{message}"}}'.encode()))


def failure(outcome: Outcome) -> Failure:
    return Failure(outcome, errors.ImageError, "x")


NOT_SENT, UNKNOWN = failure(Outcome.NOT_SENT), failure(Outcome.UNKNOWN)

OUTCOMES: list[tuple[Failure, Outcome]] = [
    *((refusal(status), Outcome.REFUSED) for status in (301, 307, 400, 401, 402, 403, 404, 408, 409, 413, 422)),
    (refusal(400, message="moderation_blocked"), Outcome.REFUSED),
    (refusal(429), Outcome.LATER),
    (refusal(429, "1"), Outcome.LATER),
    (refusal(503, "1"), Outcome.LATER),
    *((refusal(status), Outcome.FAILED) for status in (500, 502, 503)),
    (refusal(500, "1"), Outcome.FAILED),
    *((refusal(status), Outcome.UNKNOWN) for status in (501, 504, *range(520, 528), 529, 530, 599, 999)),
]


@pytest.mark.parametrize(("found", "outcome"), OUTCOMES)
def test_each_status_is_one_outcome(found: Failure, outcome: Outcome) -> None:
    assert found.outcome is outcome


@given(st.integers(), st.sampled_from([None, "3"]))
def test_every_status_has_an_outcome_and_only_the_unbilled_are_sent_again(status: int, retry_after: str | None) -> None:
    found = refusal(status, retry_after)

    again = decide(RetryPolicy(), found, failures=1, chance=0.0, throttled=True)

    assert again is None or not found.error().may_be_billed


DECISIONS: list[tuple[str, RetryPolicy, Failure, int, float | None]] = [
    ("not sent", RetryPolicy(), NOT_SENT, 1, 1.0),
    ("not sent, third time", RetryPolicy(), NOT_SENT, 3, 4.0),
    ("not sent, last time", RetryPolicy(), NOT_SENT, 4, None),
    ("failed", RetryPolicy(), refusal(500), 2, 2.0),
    ("failed, no retries", RetryPolicy(attempts=1), refusal(500), 1, None),
    ("rate, at any time", RetryPolicy(attempts=1), refusal(429, "120"), 99, 120.0),
    ("rate, asks for too long", RetryPolicy(), refusal(429, "121"), 0, None),
    ("rate, for the hour", RetryPolicy(), refusal(429, message="Free-tier limit: You've reached …"), 0, None),
    ("unavailable, says when", RetryPolicy(), refusal(503, "9"), 0, 9.0),
    ("refused", RetryPolicy(), refusal(400), 1, None),
    ("no credits", RetryPolicy(), refusal(402), 1, None),
    ("unknown", RetryPolicy(), UNKNOWN, 1, None),
    ("unknown, asked for", RetryPolicy(retry_unknown="always"), UNKNOWN, 1, 1.0),
    ("unknown, too often", RetryPolicy(retry_unknown="always"), UNKNOWN, 4, None),
    ("proxy gave up", RetryPolicy(), refusal(524), 1, None),
]


@pytest.mark.parametrize(
    ("policy", "found", "failures", "expected"), [row[1:] for row in DECISIONS], ids=[row[0] for row in DECISIONS]
)
def test_the_decision(policy: RetryPolicy, found: Failure, failures: int, expected: float | None) -> None:
    assert decide(policy, found, failures, chance=0.0, throttled=True) == expected


@pytest.mark.parametrize(
    ("found", "failures", "expected"),
    [
        (refusal(429, "7"), 1, 7.0),
        (refusal(429, "0.5"), 1, 1.0),
        (refusal(429), 3, 4.0),
        (refusal(429, "7"), 4, None),
        (refusal(500, "121"), 1, None),
        (UNKNOWN, 1, None),
    ],
)
def test_without_a_throttle_the_wait_covers_what_the_server_asks_for(
    found: Failure, failures: int, expected: float | None
) -> None:
    assert decide(RetryPolicy(), found, failures, chance=0.0) == expected


def test_the_loop_stops_at_the_first_success_and_sleeps_in_between() -> None:
    results: list[Failure | str] = [NOT_SENT, refusal(500), "image"]
    slept: list[float] = []
    told: list[float] = []

    async def attempt() -> Failure | str:
        return results.pop(0)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def before_wait(found: Failure, wait: float) -> None:
        told.append(wait)

    retry = Retry(RetryPolicy(), sleep=sleep, chance=lambda: 0.0)

    assert asyncio.run(retry.run(attempt, before_wait=before_wait)) == "image"
    assert slept == told == [1.0, 2.0]


def test_the_loop_returns_the_last_failure() -> None:
    async def attempt() -> Failure:
        return refusal(503)

    async def sleep(seconds: float) -> None:
        pass

    retry = Retry(RetryPolicy(attempts=3), sleep=sleep)

    assert asyncio.run(retry.run(attempt)) == refusal(503)
    with pytest.raises(errors.ServerError, match="HTTP 503"):
        asyncio.run(retry.result(attempt))


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_waits_double_up_to_a_limit_and_are_spread(failures: int, chance: float) -> None:
    policy = RetryPolicy(first_wait=1.0, longest_wait=30.0)
    full = min(30.0, 2.0 ** (failures - 1)) if failures < 100 else 30.0

    assert full / 2 <= backoff(policy, failures, chance) <= full


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attempts": 0}, "attempts must be .* not 0"),
        ({"attempts": True}, "attempts must be .* not True"),
        ({"first_wait": -1}, "first_wait must be .* not -1"),
        ({"longest_retry_after": float("nan")}, "longest_retry_after must be .* not nan"),
        (
            {"retry_unknown": "sometimes"},
            "retry_unknown must be 'never' or 'if-unbilled' or 'always', not 'sometimes'",
        ),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InvalidRequestError, match=message):
        RetryPolicy(**arguments)


async def order(script: Script, **settings: Any) -> tuple[Any, float]:
    """Give one order; the image or the error, and the virtual seconds that it took."""
    async with ImageClient(KEY, transport=script.transport, **settings) as client:
        started = asyncio.get_running_loop().time()
        try:
            result: Any = await client.generate("x", order="o")
        except errors.ImageError as error:
            result = error
        return result, asyncio.get_running_loop().time() - started


@pytest.mark.parametrize(
    ("failures", "shortest", "longest"),
    [
        ([httpx.ConnectError("no")], 0.5, 1.0),
        ([httpx.ConnectTimeout("no"), httpx.ConnectError("no")], 1.5, 3.0),
        ([httpx.Response(500, json={"message": "Later."})], 0.5, 1.0),
        (
            [
                httpx.Response(502, json={"message": "Later."}),
                httpx.Response(503, json={"message": "Later."}),
                httpx.Response(500, json={"message": "Later."}),
            ],
            3.5,
            7.0,
        ),
        ([httpx.Response(429, headers={"Retry-After": "7"})], 7.0, 7.1),
        ([httpx.Response(429, headers={"Retry-After-Ms": "2500"})], 2.5, 2.6),
        ([httpx.Response(429)], 0.4, 1.1),
        ([httpx.Response(429)] * 8, 25.0, 180.0),
        ([httpx.Response(503, json={"message": "Later."}, headers={"Retry-After": "3"})] * 5, 15.0, 16.0),
        ([httpx.Response(429), httpx.Response(500, json={"message": "Later."}), httpx.ConnectError("no")], 1.5, 4.0),
    ],
)
def test_what_cost_nothing_is_sent_again(failures: list[Any], shortest: float, longest: float) -> None:
    script = Script(*failures, OK)

    image, seconds = run_in_virtual_time(order(script))

    assert image.data == PIXEL
    assert image.attempts == len(script.requests) == len(failures) + 1
    assert shortest <= seconds <= longest
    ids = [without_nonces(request.headers["x-client-request-id"]) for request in script.requests]
    assert ids == [f"o.{number}" for number in range(1, len(failures) + 2)]
    assert {request.headers["idempotency-key"] for request in script.requests} == {"o"}


@pytest.mark.parametrize(
    ("failure", "kind", "posts"),
    [
        (httpx.ConnectError("no"), errors.ConnectionFailedError, 4),
        (httpx.Response(500, json={"message": "Later."}), errors.ServerError, 4),
        (httpx.ReadTimeout("no"), errors.OutcomeUnknownError, 1),
        (httpx.RemoteProtocolError("no"), errors.OutcomeUnknownError, 1),
        (httpx.Response(200, content=b"<html>"), errors.OutcomeUnknownError, 1),
        (httpx.Response(200, json={"data": []}), errors.NoImageError, 1),
        (httpx.Response(504), errors.ProxyTimeoutError, 1),
        (httpx.Response(524), errors.OutcomeUnknownError, 1),
        (httpx.Response(529), errors.ServerError, 1),
        (httpx.Response(400), errors.APIStatusError, 1),
        (httpx.Response(401), errors.AuthenticationError, 1),
        (httpx.Response(402), errors.InsufficientCreditsError, 1),
        (httpx.Response(404), errors.NotFoundError, 1),
        (httpx.Response(429, headers={"Retry-After": "1800"}), errors.RateLimitError, 1),
        (httpx.Response(429, json={"message": "Free-tier limit: …"}), errors.RateLimitError, 1),
    ],
)
def test_what_fails_for_good_was_posted_so_often(failure: Any, kind: type[errors.ImageError], posts: int) -> None:
    script = Script(failure)

    error, _ = run_in_virtual_time(order(script))

    assert isinstance(error, kind)
    assert len(script.requests) == posts


def test_what_may_be_billed_is_sent_again_only_when_asked() -> None:
    script = Script(httpx.ReadTimeout("no"), httpx.Response(524), OK)

    image, _ = run_in_virtual_time(order(script, retry=RetryPolicy(retry_unknown="always")))

    assert (image.data, len(script.requests)) == (PIXEL, 3)


def test_a_failed_download_does_not_generate_again() -> None:
    url = httpx.Response(200, json={"data": [{"url": "https://cdn.example/a.png"}]})
    script = Script(url, httpx.Response(500, headers={"Retry-After": "7"}))

    error, seconds = run_in_virtual_time(order(script, retry=RetryPolicy(retry_unknown="always")))

    assert isinstance(error, errors.DownloadError)
    assert [request.method for request in script.requests] == ["POST", "GET", "GET", "GET", "GET"]
    assert seconds == pytest.approx(21.0)


# ---- Deadlines


async def slow(request: httpx.Request) -> httpx.Response:
    await asyncio.sleep(40)
    return OK if request.method == "POST" else httpx.Response(200, content=PIXEL)


async def slow_download(request: httpx.Request) -> httpx.Response:
    if request.method == "POST":
        return httpx.Response(200, json={"data": [{"url": "https://cdn.example/a.png"}]})
    return await slow(request)


async def failing(request: httpx.Request) -> httpx.Response:
    return httpx.Response(500, json={"message": "Something wrong"})


async def refusing(request: httpx.Request) -> httpx.Response:
    return httpx.Response(429, headers={"Retry-After": "20"})


DEADLINES: list[tuple[Any, str, bool, str]] = [
    (slow, "request", True, "waiting for the API's answer, after 1 attempt; it may be billed"),
    (slow_download, "download", True, "while downloading, .* its image URLs are https://cdn.example/a.png"),
    (failing, "backoff", False, "waiting before another attempt, .* it is not billed; .* HTTP 500: Something wrong"),
    (refusing, "backoff", False, "waiting before another attempt, after 2 attempts; it is not billed; .* HTTP 429"),
]


@pytest.mark.parametrize(("handler", "phase", "billed", "message"), DEADLINES)
@pytest.mark.parametrize("on_the_client", [True, False])
def test_a_deadline_bounds_everything(
    handler: Any, phase: str, billed: bool, message: str, on_the_client: bool
) -> None:
    async def main() -> float:
        patient = RetryPolicy(attempts=99, first_wait=60.0, longest_wait=60.0)
        settings: dict[str, Any] = {"transport": httpx.MockTransport(handler), "retry": patient}
        async with ImageClient(KEY, deadline=25 if on_the_client else 1000, **settings) as client:
            with pytest.raises(errors.DeadlineExceededError, match=message) as caught:
                await client.generate("x", deadline=None if on_the_client else 25, order="o")
            assert (caught.value.phase, caught.value.may_be_billed, caught.value.order) == (phase, billed, "o")
            assert isinstance(caught.value, TimeoutError)
            assert (caught.value.url is not None) == (phase == "download")
            return asyncio.get_running_loop().time()

    assert run_in_virtual_time(main()) == pytest.approx(25.0)


def test_waiting_for_a_turn_counts_as_well() -> None:
    async def main() -> list[Any]:
        async with ImageClient(KEY, max_concurrency=1, transport=httpx.MockTransport(slow), deadline=60) as client:
            return await asyncio.gather(*(client.generate(f"{n}") for n in range(3)), return_exceptions=True)

    first, second, third = run_in_virtual_time(main())

    assert first.data == PIXEL
    assert (second.phase, second.may_be_billed) == ("request", True)
    assert (third.phase, third.may_be_billed) == ("queue", False)


@pytest.mark.parametrize("deadline", [0, -1, float("inf"), float("nan"), "5", True])
async def test_a_deadline_that_makes_no_sense_is_refused(deadline: Any) -> None:
    with pytest.raises(errors.InvalidRequestError, match=r"deadline must be a number greater than 0"):
        ImageClient(KEY, deadline=deadline)


def test_a_refusal_after_an_unknown_outcome_may_be_billed_all_the_same() -> None:
    script = Script(httpx.Response(524), httpx.Response(400))

    async def main() -> None:
        async with ImageClient(KEY, transport=script.transport, retry=RetryPolicy(retry_unknown="always")) as client:
            await client.generate("x")

    with pytest.raises(errors.APIStatusError) as caught:
        run_in_virtual_time(main())

    assert (caught.value.status, caught.value.may_be_billed) == (400, True)
