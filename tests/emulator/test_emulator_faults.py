"""Each fault of the table, in this process and over a real socket, and what the client makes of it."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from aimlapi_images import GeneratedImage, ImageClient, ImageError, InvalidRequestError, RetryPolicy, emulator, errors
from aimlapi_images.emulator import FAULTS, Meaning, RunningEmulator
from aimlapi_images.emulator.faults import parse_rate, table
from aimlapi_images.emulator.order_endpoint import FAULT_HEADER
from conftest import ROOT

BODY = {"model": "openai/gpt-image-1-5", "prompt": "A fox"}
QUICK = RetryPolicy(first_wait=0.01, longest_wait=0.01)


@pytest.fixture(scope="module")
def _server() -> Iterator[RunningEmulator]:
    with emulator.serve(drawing="plain", time_scale=1000) as running:
        yield running


@pytest.fixture
def running(_server: RunningEmulator) -> RunningEmulator:
    _server.reset()
    return _server


@pytest.fixture(params=["in this process", "over a socket"])
async def client(running: RunningEmulator, request: pytest.FixtureRequest) -> AsyncIterator[ImageClient]:
    transport = running.transport() if request.param == "in this process" else None
    async with ImageClient("any-key", base_url=running.base_url, transport=transport, retry=QUICK) as client:
        yield client


async def outcome(client: ImageClient) -> GeneratedImage | ImageError:
    (result,) = await asyncio.gather(client.generate("A fox"), return_exceptions=True)
    assert isinstance(result, GeneratedImage | ImageError)
    return result


# The client keeps whatever base64 decodes to, if it begins like an image.
CHECKED = list(FAULTS)


@pytest.mark.parametrize("kind", CHECKED)
async def test_the_client_does_what_the_table_says(running: RunningEmulator, client: ImageClient, kind: str) -> None:
    running.fail(kind)
    fault = FAULTS[kind]

    result = await outcome(client)

    stats = running.stats
    assert stats.faults == {kind: 1}
    match fault.meaning:
        case Meaning.REFUSED:
            assert isinstance(result, errors.APIStatusError)
            assert (result.may_be_billed, stats.received, stats.billed) == (False, 1, 0)
        case Meaning.LATER | Meaning.FAILED:
            assert isinstance(result, GeneratedImage)
            assert (result.attempts, stats.received, stats.billed) == (2, 2, 1)
        case Meaning.UNKNOWN:
            assert isinstance(result, ImageError)
            assert (result.may_be_billed, stats.received, stats.billed) == (True, 1, int(fault.billed))
        case Meaning.PAID:
            assert isinstance(result, errors.NoImageError | errors.DecodeError | errors.DownloadError)
            assert (result.may_be_billed, stats.received, stats.billed, stats.delivered) == (True, 1, 1, 0)
        case Meaning.DELIVERED:
            assert isinstance(result, GeneratedImage)
            assert Image.open(io.BytesIO(result.data)).format == ("JPEG" if kind == "wrong_format" else "PNG")
            assert (stats.received, stats.billed, stats.delivered) == (1, 1, 1)


ERRORS: dict[str, type[ImageError]] = {
    "content_policy": errors.ContentPolicyError,
    "out_of_credits": errors.InsufficientCreditsError,
    "free_tier": errors.RateLimitError,
    "dropped_before": errors.OutcomeUnknownError,
    "dropped_after": errors.OutcomeUnknownError,
    "cut_body": errors.OutcomeUnknownError,
    "gateway_timeout": errors.ProxyTimeoutError,
    "proxy_timeout": errors.ProxyTimeoutError,
    "proxy_error": errors.ServerError,
    "empty_data": errors.NoImageError,
    "invalid_base64": errors.DecodeError,
    "truncated_base64": errors.DecodeError,
    "expired_url": errors.DownloadError,
    "private_redirect": errors.DownloadError,
}


@pytest.mark.parametrize("kind", ERRORS)
async def test_the_fault_becomes_the_matching_error(running: RunningEmulator, client: ImageClient, kind: str) -> None:
    running.fail(kind)

    assert type(await outcome(client)) is ERRORS[kind]


async def test_half_an_image_is_valid_base64(running: RunningEmulator) -> None:
    async with httpx.AsyncClient(transport=running.transport(), base_url="http://emulator") as http:
        whole = await http.post("/v1/images/generations", json={**BODY, "response_format": "b64_json"}, headers=AUTH)
        running.fail("truncated_image")
        half = await http.post("/v1/images/generations", json=BODY, headers=AUTH)

    data = [base64.b64decode(answer.json()["data"][0]["b64_json"], validate=True) for answer in (whole, half)]
    assert data[0][: len(data[0]) // 2] == data[1]


AUTH = {"Authorization": "Bearer any-key"}


async def raw(running: RunningEmulator, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60) as http:
        url = f"{running.base_url}/v1/images/generations"
        return await http.post(url, json=BODY, headers={**AUTH, **headers})


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        ("rate_limited", 429, "Too Many Requests"),
        ("free_tier", 429, "Free-tier limit"),
        ("out_of_credits", 403, "You've run out of credits"),
        ("content_policy", 400, '"code":"moderation_blocked"'),
        ("maintenance", 500, "The model is under maintenance"),
        ("server_error", 500, "Something wrong with the server"),
        ("bad_gateway", 502, '"message":"Bad Gateway"'),
        ("unavailable", 503, '"message":"Service unavailable"'),
        ("gateway_timeout", 504, '"message":"Generation timeout"'),
        ("proxy_error", 502, "<h1>502 Bad Gateway</h1>"),
        ("proxy_timeout", 524, "<h1>524 A timeout occurred</h1>"),
    ],
)
async def test_a_request_can_ask_for_a_fault(running: RunningEmulator, kind: str, status: int, body: str) -> None:
    answer = await raw(running, **{FAULT_HEADER: kind})
    after = await raw(running)

    assert (answer.status_code, body in answer.text) == (status, True)
    assert ("x-inference-id" in answer.headers) == (not kind.startswith("proxy_"))
    assert after.status_code == 200


async def test_an_unknown_fault_is_refused_with_the_kinds(running: RunningEmulator) -> None:
    answer = await raw(running, **{FAULT_HEADER: "boom"})

    assert answer.status_code == 400
    assert f"{FAULT_HEADER}: there is no fault 'boom'; the kinds are content_policy, " in answer.json()["message"]
    assert (running.stats.accepted, running.stats.refused) == (0, 1)


async def test_planned_faults_come_in_order_and_before_random_ones(running: RunningEmulator) -> None:
    running.configure(faults={"unavailable": 1.0})
    running.fail("rate_limited", times=2)
    running.fail("server_error")

    statuses = [(await raw(running)).status_code for _ in range(5)]

    assert statuses == [429, 429, 500, 503, 503]


async def test_an_invalid_request_uses_up_no_planned_fault(running: RunningEmulator) -> None:
    running.fail("server_error")
    async with httpx.AsyncClient() as http:
        invalid = await http.post(f"{running.base_url}/v1/images/generations", json={}, headers=AUTH)

    assert (invalid.status_code, (await raw(running)).status_code) == (400, 500)


async def statuses(prompts: list[str], **settings: Any) -> dict[str, list[int]]:
    """The status of each prompt, sent twice, all at once."""
    transport = emulator.transport(**settings)
    async with httpx.AsyncClient(transport=transport, base_url="http://emulator", headers=AUTH) as http:

        async def twice(prompt: str) -> list[int]:
            body = {**BODY, "prompt": prompt}
            return [(await http.post("/v1/images/generations", json=body)).status_code for _ in range(2)]

        return dict(zip(prompts, await asyncio.gather(*map(twice, prompts)), strict=True))


async def test_a_seed_makes_a_run_repeatable_in_any_order() -> None:
    prompts = [f"prompt {number}" for number in range(60)]
    rates = {"server_error": 0.2, "rate_limited": 0.2}

    first = await statuses(prompts, faults=rates, seed=7)
    again = await statuses(prompts[::-1], faults=rates, seed=7)
    other = await statuses(prompts, faults=rates, seed=8)

    assert first == again
    assert first != other
    found = [status for pair in first.values() for status in pair]
    assert 8 < found.count(500) < 45
    assert 8 < found.count(429) < 45


@pytest.mark.parametrize(
    ("text", "expected"), [("rate_limited:0.1", ("rate_limited", 0.1)), ("cut_body", ("cut_body", 1.0))]
)
def test_a_rate_is_read_from_text(text: str, expected: tuple[str, float]) -> None:
    assert parse_rate(text) == expected


@pytest.mark.parametrize(
    "text", ["rate_limited:2", "rate_limited:x", "rate_limited:", "boom:0.1", "rate_limited:nan", ""]
)
def test_a_wrong_rate_is_an_error(text: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"is not KIND:RATE|there is no fault"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"boom": 0.1}, "there is no fault 'boom'"),
        ({"cut_body": 1.1}, "the rate of cut_body must be at most 1"),
        ({"cut_body": -1}, "the rate of cut_body must be a number, 0 or more"),
        ({"cut_body": 0.6, "late_url": 0.6}, "the rates of faults must not exceed 1 together"),
    ],
)
def test_wrong_rates_are_an_error(rates: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        emulator.create_app(faults=rates)


def test_the_guide_has_the_table() -> None:
    assert table() in (ROOT / "docs/emulator.md").read_text(encoding="utf-8")
