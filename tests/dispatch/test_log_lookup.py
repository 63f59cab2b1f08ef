"""`retry_unknown="if-unbilled"`: the provider's log decides whether an order is sent again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from aimlapi_images import GeneratedImage, ImageClient, RetryPolicy, Spending, errors
from conftest import KEY, PIXEL, PIXEL_ANSWER, without_nonces
from virtual_time import run_in_virtual_time

OK = httpx.Response(200, json={**PIXEL_ANSWER, "meta": {"usage": {"usd_spent": 0.05}}})
DROPPED = httpx.RemoteProtocolError("Server disconnected without sending a response.")

Row = dict[str, Any]


def row(request_id: str, status: str, usd: float | None = 0.0) -> Row:
    return {"client_request_id": request_id, "status": status, "cost": {"usd": usd}}


class Provider:
    """Loses some answers, and has a log that knows better.

    Args:
        answers: To the POSTs, in turn; the last one repeats.
        log: The rows that the log has, by the time in seconds from which it has them; or an answer of its own.
            The row `o.1` is that of the first request whose id is `o.<nonce>.1`.

    Attributes:
        posts: The ids of the requests, without nonces.
    """

    def __init__(
        self, answers: Sequence[httpx.Response | Exception], log: dict[float, list[Row]] | httpx.Response | None = None
    ) -> None:
        self.posts: list[str] = []
        self._ids: dict[str, str] = {}
        self.looks: list[float] = []
        self.transport = httpx.MockTransport(self._handle)
        self._answers = list(answers)
        self._log = {} if log is None else log

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return self._page(request)
        request_id = request.headers["x-client-request-id"]
        self.posts.append(without_nonces(request_id))
        self._ids.setdefault(self.posts[-1], request_id)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _page(self, request: httpx.Request) -> httpx.Response:
        now = asyncio.get_running_loop().time()
        self.looks.append(now)
        if isinstance(self._log, httpx.Response):
            return self._log
        rows = [each for since, rows in self._log.items() if since <= now for each in rows]
        rows = [{**each, "client_request_id": self._ids.get(each["client_request_id"], "")} for each in rows]
        limit, offset = int(request.url.params["limit"]), int(request.url.params["offset"])
        more = offset + limit < len(rows)
        return httpx.Response(200, json={"data": rows[offset : offset + limit], "pagination": {"has_more": more}})


def order(provider: Provider, number: int = 1, **policy: Any) -> tuple[list[GeneratedImage | BaseException], Spending]:
    retry = RetryPolicy(**{"retry_unknown": "if-unbilled", "first_wait": 1.0, **policy})

    async def main() -> tuple[list[GeneratedImage | BaseException], Spending]:
        async with ImageClient(KEY, transport=provider.transport, retry=retry, max_concurrency=200) as client:
            calls = (client.generate("x", order=f"o{each}") for each in range(number))
            return await asyncio.gather(*calls, return_exceptions=True), client.spending

    return run_in_virtual_time(main())


@pytest.mark.parametrize(
    "ending",
    [
        DROPPED,
        httpx.ReadTimeout(""),
        httpx.Response(524),
        httpx.Response(200, json={"data": []}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"data": [{"b64_json": "@"}]}),
    ],
)
def test_it_is_sent_again_once_the_log_says_that_it_failed(ending: httpx.Response | Exception) -> None:
    provider = Provider([ending, OK], {20.0: [row("o0.1", "failed")]})

    (image,), spending = order(provider)

    assert isinstance(image, GeneratedImage)
    assert (image.data, image.attempts) == (PIXEL, 2)
    assert provider.posts == ["o0.1", "o0.2"]
    assert (spending.orders, spending.usd_spent, spending.unknown_outcomes) == (1, 0.05, 0)


def test_it_is_not_sent_again_if_the_log_says_that_it_succeeded() -> None:
    provider = Provider([DROPPED], {5.0: [row("o0.1", "succeeded", 0.07)]})

    (error,), spending = order(provider)

    assert isinstance(error, errors.OutcomeUnknownError)
    assert "The provider's log says that it succeeded (order o0)" in str(error)
    assert error.log is not None
    assert (error.log.usage.usd_spent, error.may_be_billed) == (0.07, True)
    assert provider.posts == ["o0.1"]
    assert (spending.orders, spending.usd_spent, spending.unknown_outcomes) == (1, 0.07, 0)


def test_it_is_not_sent_again_if_the_log_does_not_know_it_in_time() -> None:
    provider = Provider([DROPPED], {0.0: [row("other.1", "failed"), row("o0.2", "failed"), row("o0.1", "running")]})

    (error,), spending = order(provider, longest_log_wait=30.0)

    assert isinstance(error, errors.OutcomeUnknownError)
    assert "The provider's log does not list it yet" in str(error)
    assert (error.log, error.may_be_billed) == (None, True)
    assert 25.0 <= provider.looks[-1] <= 30.1
    assert (provider.posts, spending.unknown_outcomes) == (["o0.1"], 1)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (httpx.Response(403), "could not be read: HTTP 403"),
        (httpx.Response(500, json={"message": "Later."}), "HTTP 500"),
    ],
)
def test_it_is_not_sent_again_if_the_log_cannot_be_read(log: httpx.Response, words: str) -> None:
    provider = Provider([DROPPED], log)

    (error,), _ = order(provider)

    assert isinstance(error, errors.OutcomeUnknownError)
    assert words in str(error)
    assert provider.posts == ["o0.1"]


def test_what_the_log_says_to_have_failed_uses_up_attempts() -> None:
    provider = Provider([DROPPED], {0.0: [row(f"o0.{attempt}", "failed") for attempt in range(1, 9)]})

    (error,), spending = order(provider, attempts=3)

    assert isinstance(error, errors.OutcomeUnknownError)
    assert (error.may_be_billed, spending.unknown_outcomes) == (False, 0)
    assert provider.posts == ["o0.1", "o0.2", "o0.3"]


@pytest.mark.parametrize("policy", ["never", "always"])
def test_nobody_asks_the_log_otherwise(policy: str) -> None:
    provider = Provider([DROPPED, OK])

    order(provider, retry_unknown=policy)

    assert provider.looks == []
    assert len(provider.posts) == (1 if policy == "never" else 2)


def test_many_orders_share_their_looks_at_a_log_of_many_pages() -> None:
    others = [row(f"other{number}.1", "succeeded") for number in range(350)]
    provider = Provider([DROPPED] * 100 + [OK], {30.0: [*others, *(row(f"o{n}.1", "failed") for n in range(100))]})

    results, _ = order(provider, 100)

    assert all(isinstance(each, GeneratedImage) for each in results)
    assert sorted(provider.posts) == sorted(f"o{n}.{attempt}" for n in range(100) for attempt in (1, 2))
    assert len(provider.looks) <= 20  # 200 a minute are allowed


def test_a_deadline_ends_the_wait_for_the_log() -> None:
    provider = Provider([DROPPED])

    async def main() -> None:
        retry = RetryPolicy(retry_unknown="if-unbilled")
        async with ImageClient(KEY, transport=provider.transport, retry=retry) as client:
            await client.generate("x", deadline=20)

    with pytest.raises(errors.DeadlineExceededError, match="waiting for the provider's log") as caught:
        run_in_virtual_time(main())

    assert (caught.value.phase, caught.value.may_be_billed) == ("log", True)


def test_the_span_asked_for_has_the_attempt_in_it() -> None:
    seen: list[httpx.URL] = []
    sent: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            sent.append(request.headers["x-client-request-id"])
            raise DROPPED
        seen.append(request.url)
        return httpx.Response(200, json={"data": [row(sent[0], "succeeded")]})

    async def main() -> None:
        retry = RetryPolicy(retry_unknown="if-unbilled")
        async with ImageClient(KEY, transport=httpx.MockTransport(handle), retry=retry) as client:
            await client.generate("x", order="o")

    with pytest.raises(errors.OutcomeUnknownError):
        run_in_virtual_time(main())

    assert seen[0].params["start"] < seen[0].params["end"]
    assert json.dumps(seen[0].params["start"]).endswith('+00:00"')


def test_an_order_id_that_is_used_again_is_not_settled_by_the_earlier_log_row() -> None:
    provider = Provider([OK, DROPPED], {0.0: [row("job.1", "succeeded")]})

    async def main() -> None:
        for _ in range(2):
            retry = RetryPolicy(retry_unknown="if-unbilled", longest_log_wait=10)
            async with ImageClient(KEY, transport=provider.transport, retry=retry) as client:
                await client.generate("x", order="job")

    with pytest.raises(errors.OutcomeUnknownError, match="does not list it yet") as caught:
        run_in_virtual_time(main())

    assert caught.value.log is None
    assert provider.posts == ["job.1", "job.1"]
