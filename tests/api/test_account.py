"""The account: its balance and its log, from the emulator and from answers that may look otherwise."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from aimlapi_images import Balance, ImageClient, LogEntry, LogPage, RetryPolicy, Usage, cli, emulator, errors
from aimlapi_images.api.account import read_balance, read_log_page
from aimlapi_images.media.embedded_images import MAX_LEFT_BYTES
from conftest import KEY, Script, scripted
from virtual_time import run_in_virtual_time

START = datetime(2026, 1, 1, tzinfo=UTC)


def emulated(**settings: Any) -> ImageClient:
    transport = emulator.transport(emulator.create_app(**settings))
    return ImageClient(KEY, base_url="http://emulator", transport=transport)


async def test_what_orders_cost_is_missing_from_the_balance_and_in_the_log() -> None:
    async with emulated(balance=10.0) as client:
        await client.generate("A fox", order="mine", quality="low")
        with pytest.raises(errors.NotFoundError):
            await client.generate("A fox", order="wrong", model="no/such")
        balance, log = await client.balance(), await client.logs()

    assert balance == Balance(amount=9.991, currency="USD")
    assert (log.total, log.has_more) == (2, False)
    failed, succeeded = log.entries
    assert (succeeded.status, succeeded.order) == ("succeeded", "mine")
    assert re.fullmatch(r"mine\.[0-9a-f]{8}\.1", succeeded.client_request_id or "")
    assert (succeeded.model, succeeded.usage) == ("openai/gpt-image-1-5", Usage(18_000, 0.009))
    assert (failed.status, failed.order, failed.model, failed.usage) == ("failed", "wrong", "no/such", Usage(0, 0.0))


async def test_the_log_has_the_inference_id_of_the_answer() -> None:
    async with emulated() as client:
        image = await client.generate("A fox")
        (entry,) = (await client.logs()).entries

    assert image.inference_id == entry.inference_id
    assert abs(datetime.now(UTC) - datetime.fromisoformat(str(entry.created))) < timedelta(minutes=5)


async def test_the_log_can_be_narrowed_and_paged_through() -> None:
    async with emulated() as client:
        for number in range(5):
            await client.generate("A fox", quality="low", order=f"o{number}")
        with pytest.raises(errors.NotFoundError):
            await client.generate("A fox", model="no/such", order="o5")

        pages = [[entry.order for entry in page.entries] async for page in client.log_pages(limit=4)]
        assert pages == [["o5", "o4", "o3", "o2"], ["o1", "o0"]]
        assert [len(page.entries) async for page in client.log_pages(status="failed")] == [1]
        assert [page.entries async for page in client.log_pages(model="no/other")] == [()]

        async def found(**asked: Any) -> list[str | None]:
            return [entry.order for entry in (await client.logs(**asked)).entries]

        assert await found(limit=2) == ["o5", "o4"]
        assert await found(limit=2, offset=4) == ["o1", "o0"]
        assert (await client.logs(limit=4)).has_more
        assert await found(status="failed") == ["o5"]
        assert len(await found(status=["failed", "succeeded"])) == 6
        assert await found(model="no/such") == ["o5"]
        assert len(await found(start=datetime.now(UTC) - timedelta(minutes=5))) == 6
        assert await found(start=datetime.now(UTC) - timedelta(days=9), end=datetime.now(UTC) - timedelta(days=8)) == []


async def test_without_credits_nothing_more_is_generated() -> None:
    async with emulated(balance=0.01) as client:
        await client.generate("A fox", quality="medium")
        with pytest.raises(errors.InsufficientCreditsError, match="run out of credits"):
            await client.generate("A fox")

        assert (await client.balance()).amount == pytest.approx(-0.024)


async def test_the_question_is_asked_as_documented() -> None:
    client, script = scripted(httpx.Response(200, json={"data": []}))
    zone = timezone(timedelta(hours=2))

    await client.logs(
        start=START.astimezone(zone), end=START + timedelta(days=92), status=["failed"], model="m", limit=7
    )

    (request,) = script.requests
    assert (request.method, request.url.path) == ("GET", "/v2/logs")
    assert sorted(request.url.params.multi_items()) == [
        ("end", "2026-04-03T00:00:00+00:00"),
        ("limit", "7"),
        ("model", "m"),
        ("start", "2026-01-01T00:00:00+00:00"),
        ("status", "failed"),
    ]
    assert request.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"period": "day", "start": START}, "either period, or start"),
        ({"end": START}, "end needs a start"),
        ({"start": START, "end": START - timedelta(seconds=1)}, "92 days forwards"),
        ({"start": START, "end": START + timedelta(days=93)}, "92 days forwards"),
        ({"limit": 0}, "limit must be .* not 0"),
        ({"limit": True}, "limit must be .* not True"),
        ({"offset": -1}, "offset must be .* not -1"),
    ],
)
async def test_a_question_that_makes_no_sense_is_not_asked(asked: dict[str, Any], message: str) -> None:
    client, script = scripted()

    with pytest.raises(errors.InvalidRequestError, match=message):
        await client.logs(**asked)

    assert script.requests == []


BALANCES: list[tuple[object, Balance]] = [
    ({"current_balance": 123.45, "currency": "USD"}, Balance(123.45, "USD")),
    ({"current_balance": "123.45"}, Balance(123.45, None)),
    ({"current_balance": -2, "currency": None}, Balance(-2.0, None)),
    ({"current_balance": None}, Balance(None, None)),
    ({"current_balance": True, "currency": 5}, Balance(None, None)),
    ([], Balance(None, None)),
    ("text", Balance(None, None)),
]


@pytest.mark.parametrize(("document", "expected"), BALANCES)
def test_a_balance_is_read_as_far_as_it_is_told(document: object, expected: Balance) -> None:
    assert read_balance(document) == expected


ROW = {"status": "failed", "client_request_id": "o.2"}
PAGES: list[tuple[object, LogPage]] = [
    ({"data": [], "pagination": {"total": 0, "has_more": False}}, LogPage((), 0, False)),
    ({"logs": [ROW]}, LogPage((LogEntry(status="failed", client_request_id="o.2"),), None, False)),
    ([ROW], LogPage((LogEntry(status="failed", client_request_id="o.2"),), None, False)),
    ({"data": [None, 7], "pagination": None}, LogPage((), None, False)),
    ({"data": [{}], "pagination": {"has_more": True, "total": 9}}, LogPage((LogEntry(),), 9, True)),
    (
        {
            "data": [
                {"created": 1768241332, "cost": {"usd": None, "credits": 190450}, "tokens": {"total": 7, "input": None}}
            ]
        },
        LogPage((LogEntry(created="1768241332", usage=Usage(190450, 0.095225), tokens={"total": 7}),), None, False),
    ),
    ("text", LogPage((), None, False)),
]


@pytest.mark.parametrize(("document", "expected"), PAGES)
def test_a_log_is_read_as_far_as_it_is_told(document: object, expected: LogPage) -> None:
    assert read_log_page(document) == expected


@pytest.mark.parametrize(
    ("client_request_id", "order"),
    [("o.0123abcd.2", "o"), ("a.b.0123abcd.10", "a.b"), ("o.2", None), ("o.0123abcd.", None), ("", None), (None, None)],
)
def test_an_entry_names_the_order_it_belongs_to(client_request_id: str | None, order: str | None) -> None:
    assert LogEntry(client_request_id=client_request_id).order == order


def balance_of(script: Script, **settings: Any) -> Balance:
    async def main() -> Balance:
        async with ImageClient(KEY, transport=script.transport, **settings) as client:
            return await client.balance()

    return run_in_virtual_time(main())


BALANCE = httpx.Response(200, json={"current_balance": 1, "currency": "USD"})


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.Response(500),
        httpx.Response(524),
        httpx.Response(429, headers={"retry-after": "60"}),
        httpx.ConnectError(""),
        httpx.ReadTimeout(""),
        httpx.RemoteProtocolError("cut off"),
    ],
)
def test_a_question_costs_nothing_and_is_asked_again(trouble: Any) -> None:
    script = Script(trouble, trouble, BALANCE)

    assert balance_of(script) == Balance(1.0, "USD")
    assert len(script.requests) == 3


@pytest.mark.parametrize(
    ("trouble", "kind", "asked"),
    [
        (httpx.Response(500), errors.ServerError, 4),
        (httpx.Response(524), errors.ProxyTimeoutError, 4),
        (httpx.ReadTimeout(""), errors.ConnectionFailedError, 4),
        (httpx.Response(429, headers={"retry-after": "600"}), errors.RateLimitError, 1),
        (httpx.Response(401), errors.AuthenticationError, 1),
        (httpx.Response(404), errors.NotFoundError, 1),
        (httpx.Response(200, text="<html>"), errors.APIStatusError, 1),
        (httpx.LocalProtocolError("no"), errors.InvalidRequestError, 1),
    ],
)
def test_a_question_without_an_answer_is_an_error_that_cost_nothing(
    trouble: Any, kind: type[errors.ImageError], asked: int
) -> None:
    script = Script(trouble)

    with pytest.raises(kind) as caught:
        balance_of(script)

    assert type(caught.value) is kind
    assert not caught.value.may_be_billed
    assert len(script.requests) == asked
    assert KEY not in str(caught.value)


def test_no_answer_is_said_plainly() -> None:
    with pytest.raises(
        errors.ConnectionFailedError, match=r"^no complete answer from /v2/billing: ReadTimeout: no data in time$"
    ):
        balance_of(Script(httpx.ReadTimeout("")), retry=RetryPolicy(attempts=1))


async def test_a_closed_client_answers_no_questions() -> None:
    client, _ = scripted()
    await client.aclose()

    for question in (client.balance, client.logs):
        with pytest.raises(errors.InvalidRequestError, match="closed"):
            await question()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["balance", *arguments])
    return exit_.value.code, *capsys.readouterr()


def test_the_command_tells_the_balance(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--emulator") == (0, "1,000,000.00 USD\n", "")
    code, out, _ = run(capsys, "--emulator", "--json")
    assert (code, json.loads(out)) == (0, {"amount": 1_000_000.0, "currency": "USD"})


def test_the_command_asks_a_server(
    capsys: pytest.CaptureFixture[str], emulator_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIMLAPI_API_KEY", KEY)
    code, out, err = run(capsys, "--base-url", emulator_url)
    assert (code, err) == (0, "")
    assert out.endswith(" USD\n")

    monkeypatch.setenv("AIMLAPI_API_KEY", "wrong")
    code, out, err = run(capsys, "--base-url", emulator_url)
    assert (code, out) == (3, "")
    assert err.startswith("aimlapi-images: HTTP 401: This request requires a valid API key.")

    monkeypatch.delenv("AIMLAPI_API_KEY")
    assert run(capsys)[0] == 2


async def test_many_questions_at_once_are_answered(emulator_url: str) -> None:
    async with ImageClient(KEY, base_url=emulator_url) as client:
        balances = await asyncio.gather(*(client.balance() for _ in range(20)))

    assert {balance.currency for balance in balances} == {"USD"}


async def test_an_answer_without_end_is_cut_off() -> None:
    client, _ = scripted(httpx.Response(200, content=b" " * (MAX_LEFT_BYTES + 1)))

    with pytest.raises(errors.DecodeError, match="the answer is too large: more than 8,388,608 bytes"):
        await client.balance()
