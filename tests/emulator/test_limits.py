"""Limits, money, log and time of the emulator, with a clock of the test's own."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import httpx
import pytest

from aimlapi_images import InvalidRequestError, emulator
from aimlapi_images.emulator import Settings, State

BODY = {"model": "openai/gpt-image-1-5", "prompt": "A fox"}


@attrs.define
class Clock:
    """Time passes when someone waits."""

    time: float = 1_800_000_000.0
    waits: list[float] = attrs.field(factory=list)

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds


@attrs.define
class Gate:
    """Orders wait until it opens."""

    arrived: asyncio.Semaphore = attrs.field(factory=lambda: asyncio.Semaphore(0))
    opened: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def sleep(self, _: float) -> None:
        self.arrived.release()
        await self.opened.wait()


@attrs.define
class Emulated:
    """An emulator in this process, and an HTTP client of it."""

    http: httpx.AsyncClient
    state: State
    clock: Clock

    async def order(self, prompt: str = "A fox", **fields: Any) -> httpx.Response:
        return await self.http.post("/v1/images/generations", json={**BODY, "prompt": prompt, **fields})

    async def statuses(self, count: int) -> list[int]:
        return [(await self.order()).status_code for _ in range(count)]

    async def rows(self) -> int:
        total: int = (await self.http.get("/v2/logs")).json()["pagination"]["total"]
        return total


def emulated(**settings: Any) -> Emulated:
    clock = Clock()
    state = State(Settings(drawing="plain", **settings), now=clock.now, sleep=clock.sleep)
    transport = emulator.transport(emulator.create_app(state=state))
    headers = {"Authorization": "Bearer any-key"}
    return Emulated(httpx.AsyncClient(transport=transport, base_url="http://emulator", headers=headers), state, clock)


async def test_orders_per_minute_are_limited() -> None:
    api = emulated(rpm=2, retry_after=7)

    before = await api.statuses(3)
    refused = await api.order()
    api.clock.time += 59
    still = await api.statuses(1)
    api.clock.time += 2
    after = await api.statuses(3)

    assert (before, still, after) == ([200, 200, 429], [429], [200, 200, 429])
    assert refused.headers["retry-after"] == "7"
    assert refused.json()["message"] == "Too Many Requests"
    assert (api.state.stats.accepted, api.state.stats.refused) == (4, 4)
    assert api.state.stats.faults == {"rate_limited": 4}


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"retry_after": None}, None),
        ({"retry_after": 3, "time_scale": 100}, "0.03"),
        ({"retry_after": 0}, "0"),
        ({}, "1"),
    ],
)
async def test_a_refusal_says_when_to_come_again_in_real_time(settings: dict[str, Any], header: str | None) -> None:
    api = emulated(rpm=1, **settings)

    await api.order()

    assert (await api.order()).headers.get("retry-after") == header


async def test_time_runs_faster_for_limits_too() -> None:
    api = emulated(rpm=1, time_scale=60)

    before = await api.statuses(2)
    api.clock.time += 1.01

    assert before + await api.statuses(1) == [200, 429, 200]


async def test_orders_in_progress_are_limited() -> None:
    gate = Gate()
    state = State(Settings(max_concurrency=2, drawing="plain"), sleep=gate.sleep)
    transport = emulator.transport(emulator.create_app(state=state))
    async with httpx.AsyncClient(transport=transport, headers={"Authorization": "Bearer k"}) as http:

        async def order() -> int:
            return (await http.post("http://emulator/v1/images/generations", json=BODY)).status_code

        first = [asyncio.create_task(order()) for _ in range(2)]
        for _ in first:
            await gate.arrived.acquire()
        refused = await order()
        gate.opened.set()
        accepted = await asyncio.gather(*first)
        again = await order()

    assert (refused, accepted, again) == (429, [200, 200], 200)
    assert (state.stats.peak, state.stats.in_flight) == (2, 0)


async def test_the_free_tier_lasts_an_hour() -> None:
    api = emulated(free_tier=2)

    before = await api.statuses(2)
    refused = await api.order()
    api.clock.time += 3601

    assert before + await api.statuses(1) == [200, 200, 200]
    assert (refused.status_code, refused.json()["message"][:16]) == (429, "Free-tier limit:")
    assert [(await each.order()).status_code for each in (emulated(free_tier=0),)] == [429]


async def test_the_balance_runs_out() -> None:
    api = emulated(balance=0.05)

    paid = [(await api.order(quality=quality)).status_code for quality in ("medium", "medium")]
    refused = await api.order()
    balance = (await api.http.get("/v2/billing")).json()

    assert (paid, refused.status_code) == ([200, 200], 403)
    assert balance == {"current_balance": -0.018, "currency": "USD"}
    assert (api.state.stats.usd, api.state.stats.billed) == (0.068, 2)


async def test_durations_depend_on_quality_and_scale() -> None:
    api = emulated(latency=26, time_scale=100)

    for quality in ("low", "medium", "high"):
        await api.order(quality=quality)

    assert api.clock.waits == pytest.approx([0.156, 0.26, 0.65])


async def test_durations_spread_and_a_seed_repeats_them() -> None:
    several = [emulated(latency=10, latency_spread=0.2, seed=seed) for seed in (1, 1, 2)]
    for api in several:
        for number in range(20):
            await api.order(prompt=str(number))

    waits = [api.clock.waits for api in several]
    assert waits[0] == waits[1] != waits[2]
    assert min(waits[0]) >= 8
    assert max(waits[0]) <= 12
    assert max(waits[0]) - min(waits[0]) > 2


async def test_the_log_shows_an_order_after_a_while() -> None:
    api = emulated(log_delay=30, time_scale=10)

    await api.order()
    before = await api.rows()
    api.clock.time += 3.01

    assert (before, await api.rows()) == (0, 1)


async def test_a_failed_generation_is_in_the_log_and_a_dropped_one_too() -> None:
    api = emulated()
    api.state.fail("server_error")
    api.state.fail("gateway_timeout")

    ids = [(await api.order()).headers["x-inference-id"] for _ in range(2)]
    rows = (await api.http.get("/v2/logs")).json()["data"]

    assert [(row["inference_id"], row["status"], row["cost"]["credits"]) for row in rows] == [
        (ids[1], "succeeded", 68_000),
        (ids[0], "failed", 0),
    ]


async def test_urls_expire() -> None:
    api = emulated(url_expires=3600)
    url = (await api.order()).json()["data"][0]["url"]

    before = (await api.http.get(url)).status_code
    api.clock.time += 3601

    assert (before, (await api.http.get(url)).status_code) == (200, 404)


async def test_the_account_has_a_limit_of_its_own() -> None:
    api = emulated()

    found = {(await api.http.get("/v2/billing")).status_code for _ in range(200)}
    refused = (await api.http.get("/v2/logs")).status_code
    api.clock.time += 61

    assert (found, refused, (await api.http.get("/v2/logs")).status_code) == ({200}, 429, 200)


async def test_nulls_are_sent_if_wanted() -> None:
    plain = (await emulated().order()).json()["data"][0]
    nulls = (await emulated(explicit_nulls=True).order(response_format="b64_json")).json()["data"][0]

    assert plain.keys() == {"url"}
    assert nulls.keys() == {"url", "b64_json", "revised_prompt"}
    assert (nulls["url"], bool(nulls["b64_json"])) == (None, True)


async def test_a_reset_forgets_everything_but_the_settings() -> None:
    api = emulated(rpm=1, balance=1.0)
    await api.order()
    api.state.fail("server_error", times=5)
    api.state.configure(rpm=None)

    api.state.reset()

    assert await api.statuses(2) == [200, 429]
    assert (api.state.stats.received, api.state.stats.balance, await api.rows()) == (2, 0.966, 1)


async def test_an_order_from_before_a_reset_is_not_counted() -> None:
    gate = Gate()
    state = State(Settings(drawing="plain"), sleep=gate.sleep)
    transport = emulator.transport(emulator.create_app(state=state))
    async with httpx.AsyncClient(transport=transport, headers={"Authorization": "Bearer k"}) as http:
        old = asyncio.create_task(http.post("http://emulator/v1/images/generations", json=BODY))
        await gate.arrived.acquire()
        state.reset()
        gate.opened.set()
        answer = await old

    assert answer.status_code == 200
    assert (state.stats.billed, state.stats.in_flight, state.log.rows(2e9)) == (0, 0, [])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latency": -1}, "latency must be a number, 0 or more"),
        ({"latency_spread": 2}, "latency_spread must be at most 1"),
        ({"time_scale": 0}, "time_scale must be a number greater than 0"),
        ({"rpm": 0}, "rpm must be a whole number, 1 or more"),
        ({"balance": "1"}, "balance must be a number"),
        ({"drawing": "oil"}, "drawing must be 'landscape' or 'plain'"),
        ({"api_key": ""}, "api_key must be a non-empty string"),
    ],
)
def test_a_wrong_setting_is_an_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        emulator.create_app(**settings)


def test_the_key_is_not_in_the_repr_of_the_settings() -> None:
    assert "secret" not in repr(Settings(api_key="secret"))
