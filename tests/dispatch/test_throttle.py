"""Who may go when: the real throttle in virtual time, against servers that refuse for one reason or another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import attrs
import httpx
import pytest

from aimlapi_images import GeneratedImage, ImageClient, InsufficientCreditsError, RetryPolicy, errors
from aimlapi_images.dispatch.throttle import Throttle
from conftest import KEY, PIXEL, PIXEL_ANSWER
from virtual_time import run_in_virtual_time


@attrs.define
class Server:
    """Admits by a token bucket, and by how much is open; a generation takes `seconds`."""

    rate: float = 1e9
    burst: float = 1e9
    most_open: float = 1e9
    seconds: float = 1.0
    retry_after: str | None = "1"
    refused: int = 0
    open: int = 0
    most_seen: int = 0
    starts: list[float] = attrs.field(factory=list)
    prompts: list[str] = attrs.field(factory=list)
    _tokens: float | None = None
    _at: float = 0.0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(random.uniform(0.001, 0.003))  # noqa: S311 - the way there
        now = asyncio.get_running_loop().time()
        tokens = self.burst if self._tokens is None else self._tokens
        self._tokens, self._at = min(self.burst, tokens + (now - self._at) * self.rate), now
        if self._tokens < 1 or self.open >= self.most_open:
            self.refused += 1
            headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
            return httpx.Response(429, json={"message": "Too Many Requests"}, headers=headers)
        self._tokens -= 1
        self.starts.append(now)
        self.open += 1
        self.most_seen = max(self.most_seen, self.open)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.open -= 1
        return httpx.Response(200, json=PIXEL_ANSWER)


def gather(server: Server, orders: int, clients: int = 1, **settings: Any) -> tuple[list[Any], float]:
    """Give all orders at once; what became of them, and the virtual seconds that it took."""

    async def main() -> tuple[list[Any], float]:
        made = [ImageClient(KEY, transport=httpx.MockTransport(server), **settings) for _ in range(clients)]
        calls = [client.generate(f"{number}") for client in made for number in range(orders)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        return results, asyncio.get_running_loop().time()

    return run_in_virtual_time(main())


@pytest.fixture(autouse=True)
def _always_the_same_chance() -> None:
    random.seed(20)


@pytest.mark.parametrize(("retry_after", "most"), [("1", 1.15), (None, 1.25)])
def test_a_rate_limit_loses_nothing_and_little_time(retry_after: str | None, most: float) -> None:
    server = Server(rate=20, burst=20, retry_after=retry_after)

    results, seconds = gather(server, 500, max_concurrency=200)

    assert [each for each in results if not isinstance(each, GeneratedImage)] == []
    assert seconds <= most * ((500 - 20) / 20 + 1)
    assert server.refused <= 25


@pytest.mark.untraced
def test_clients_that_share_a_limit_lose_nothing_either() -> None:
    server = Server(rate=20, burst=20)

    results, seconds = gather(server, 250, clients=4, max_concurrency=200)

    assert [each for each in results if not isinstance(each, GeneratedImage)] == []
    assert seconds <= 1.3 * ((4 * 250 - 20) / 20 + 1)
    assert server.refused <= 1.5 * 4 * 250


def test_a_limit_of_open_requests_is_found_too() -> None:
    server = Server(most_open=16, seconds=26)

    results, seconds = gather(server, 160, max_concurrency=100)

    assert [each for each in results if not isinstance(each, GeneratedImage)] == []
    assert server.most_seen <= 16
    assert seconds <= 1.5 * 26 * 160 / 16
    assert server.refused <= 150  # one probe every few seconds while all are busy


def test_without_refusals_all_that_may_be_open_soon_is() -> None:
    server = Server(seconds=26)

    _, seconds = gather(server, 400, max_concurrency=200)

    assert server.most_seen == 200
    assert seconds <= 2 * 26 + 4


def test_one_refusal_holds_everybody_back() -> None:
    server = Server(rate=0.1, burst=10, seconds=0.1, retry_after="30")

    gather(server, 12, max_concurrency=16)

    assert server.refused <= 5
    assert [start for start in server.starts if 0.1 < start < 30] == []


@pytest.mark.parametrize("retry_after", ["0", "-1", None])
def test_a_server_that_always_refuses_is_not_hammered(retry_after: str | None) -> None:
    server = Server(rate=0, burst=0, retry_after=retry_after)

    results, seconds = gather(server, 20, deadline=600)

    assert {type(each) for each in results} == {errors.DeadlineExceededError}
    assert seconds == pytest.approx(600)
    assert server.refused <= 400  # less than one a second


def test_requests_a_minute_are_spread_evenly() -> None:
    server = Server(seconds=0.5)

    _, seconds = gather(server, 31, requests_per_minute=30)

    assert seconds == pytest.approx(60.5, abs=0.1)
    gaps = [later - earlier for earlier, later in zip(server.starts, server.starts[1:], strict=False)]
    assert min(gaps) > 1.9


def test_first_come_first_served_and_who_has_to_come_back_keeps_its_place() -> None:
    order: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        prompt = request.content.decode().split('"prompt":"')[1].split('"')[0]
        if prompt == "3" and order.count("3") == 0:
            order.append(prompt)
            return httpx.Response(429)
        order.append(prompt)
        return httpx.Response(200, json=PIXEL_ANSWER)

    async def main() -> None:
        async with ImageClient(KEY, max_concurrency=1, transport=httpx.MockTransport(handler)) as client:
            await asyncio.gather(*(client.generate(f"{n}") for n in range(7)))

    run_in_virtual_time(main())

    assert order == ["0", "1", "2", "3", "3", "4", "5", "6"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, errors.AuthenticationError), (402, InsufficientCreditsError), (403, InsufficientCreditsError)],
)
def test_no_credits_stop_the_queue_before_it_is_sent(status: int, kind: type[errors.APIStatusError]) -> None:
    posts = 0

    async def handler(request: httpx.Request) -> httpx.Response:
        nonlocal posts
        posts += 1
        answers = posts <= 5
        await asyncio.sleep(1)
        if answers:
            return httpx.Response(200, json=PIXEL_ANSWER)
        return httpx.Response(status, json={"message": "You've run out of credits."})

    async def main() -> tuple[list[Any], Any]:
        async with ImageClient(KEY, max_concurrency=4, transport=httpx.MockTransport(handler)) as client:
            calls = (client.generate("x", order=f"o{number}") for number in range(100))
            results = await asyncio.gather(*calls, return_exceptions=True)
            return results, await asyncio.gather(client.generate("later"), return_exceptions=True)

    results, later = run_in_virtual_time(main())

    assert [isinstance(each, GeneratedImage) for each in results[:5]] == [True] * 5
    assert all(type(each) is kind and not each.may_be_billed for each in results[5:])
    assert posts == 5 + 3 + 1 + 1  # five answered, those under way with the refused one, and the later one
    assert [each.order for each in results[5:]] == [f"o{number}" for number in range(5, 100)]
    assert "not sent, as another order was refused: You've run out of credits" in str(results[99])
    assert type(later[0]) is kind  # a new order is tried: there may be credits again


@pytest.mark.parametrize("headers", [{"Retry-After": "1800"}, {}])
def test_a_wait_that_is_too_long_is_nobodys(headers: dict[str, str]) -> None:
    server = Server(seconds=1)

    sent = 0

    async def handler(request: httpx.Request) -> httpx.Response:
        nonlocal sent
        sent += 1
        if sent <= 3:
            return await server(request)
        await asyncio.sleep(0.5)
        return httpx.Response(429, json={"message": "Free-tier limit: You've reached …"}, headers=headers)

    async def main() -> tuple[list[Any], float]:
        async with ImageClient(KEY, max_concurrency=1, transport=httpx.MockTransport(handler)) as client:
            results = await asyncio.gather(*(client.generate("x") for _ in range(50)), return_exceptions=True)
            return results, asyncio.get_running_loop().time()

    results, seconds = run_in_virtual_time(main())

    assert [type(each) for each in results] == [GeneratedImage] * 3 + [errors.RateLimitError] * 47
    assert results[-1].retry_after == (1800.0 if headers else None)
    assert not results[-1].may_be_billed
    assert sent == 4
    assert seconds < 4


@pytest.mark.untraced
@pytest.mark.parametrize("seed", range(3))
def test_cancelling_at_random_leaves_every_slot_free(seed: int) -> None:
    server = Server(rate=200, burst=50, seconds=0.3, retry_after="0.2")
    chance = random.Random(seed)  # noqa: S311

    async def main() -> tuple[list[Any], list[Any]]:
        async with ImageClient(KEY, max_concurrency=16, transport=httpx.MockTransport(server)) as client:
            tasks = [asyncio.create_task(client.generate(f"{n}")) for n in range(400)]

            async def cancel(task: asyncio.Task[GeneratedImage]) -> None:
                await asyncio.sleep(chance.uniform(0, 6))
                task.cancel()

            await asyncio.gather(*(cancel(task) for task in chance.sample(tasks, 280)))
            cancelled = await asyncio.gather(*tasks, return_exceptions=True)
            again = await asyncio.gather(*(client.generate(f"{n}") for n in range(400)), return_exceptions=True)
            return cancelled, again

    cancelled, again = run_in_virtual_time(main())

    assert any(isinstance(each, asyncio.CancelledError) for each in cancelled)
    assert all(isinstance(each, GeneratedImage | asyncio.CancelledError) for each in cancelled)
    assert all(isinstance(each, GeneratedImage) and each.data == PIXEL for each in again)
    assert server.open == 0
    assert server.most_seen <= 16


def test_a_waiter_cancelled_in_the_moment_it_may_go_passes_its_slot_on() -> None:
    async def main() -> list[str]:
        throttle, went = Throttle(RetryPolicy(), max_concurrency=1), []

        async def go(name: str) -> None:
            async with throttle.turn(throttle.ticket(name)):
                went.append(name)

        async with throttle.turn(throttle.ticket("first")):
            second, third = asyncio.create_task(go("second")), asyncio.create_task(go("third"))
            await asyncio.sleep(0)
        second.cancel()  # it has been let go just now, and does not know yet
        await asyncio.gather(second, third, return_exceptions=True)
        return went

    assert run_in_virtual_time(main()) == ["third"]


def test_the_cost_of_a_turn_does_not_grow_with_the_queue() -> None:
    def steps(orders: int) -> float:
        """Callbacks that the loop ran for an order: a measure without a clock."""
        ran = 0

        async def main() -> None:
            loop = asyncio.get_running_loop()
            call_soon: Callable[..., Any] = loop.call_soon

            def counting(*arguments: Any, **more: Any) -> Any:
                nonlocal ran
                ran += 1
                return call_soon(*arguments, **more)

            setattr(loop, "call_soon", counting)  # noqa: B010 - mypy does not let a method be assigned
            transport = httpx.MockTransport(lambda request: httpx.Response(200, json=PIXEL_ANSWER))
            async with ImageClient(KEY, transport=transport) as client:
                await asyncio.gather(*(client.generate("x") for _ in range(orders)))

        run_in_virtual_time(main())
        return ran / orders

    assert steps(500) <= 1.2 * steps(50)
