"""The events of an order, as reported to an observer and to the log."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from functools import partial, wraps
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest

from aimlapi_images import ImageClient, RetryPolicy, errors, events
from aimlapi_images.orders.generation import GenerationOrder
from conftest import KEY, PIXEL, PIXEL_ANSWER, Script, without_nonces
from virtual_time import run_in_virtual_time

URL = "https://cdn.example/a.png"
BY_URL = httpx.Response(200, json={"data": [{"url": URL}], "meta": {"usage": {"usd_spent": 0.05}}})
IMAGE = httpx.Response(200, content=PIXEL)
OK = httpx.Response(200, json=PIXEL_ANSWER)


class Diary:
    """An observer that keeps the events, and how many requests had been sent at each of them."""

    def __init__(self, script: Script, fails_at: type[events.Event] | None = None) -> None:
        self.events: list[events.Event] = []
        self.requests: list[int] = []
        self._script = script
        self._fails_at = fails_at

    async def __call__(self, event: events.Event) -> None:
        await asyncio.sleep(0.5)  # like a journal on a slow disk
        self.events.append(event)
        self.requests.append(len(self._script.requests))
        if self._fails_at is type(event):
            raise OSError("the disk is full")

    @property
    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


def order(script: Script, diary: Diary, *, policy: RetryPolicy | None = None, **call: Any) -> Any:
    async def main() -> Any:
        async with ImageClient(
            KEY, transport=script.transport, observer=diary, retry=policy or RetryPolicy(attempts=2)
        ) as client:
            return await client.generate("x", order="o1", **call)

    return run_in_virtual_time(main())


def test_what_is_paid_for_is_told_before_anything_else() -> None:
    """The state of a batch must know it, even if the deadline passes while something else is told."""
    script = Script(httpx.Response(429), OK)
    diary = Diary(script)

    order(script, diary)

    assert diary.names == [
        *("AttemptStarted", "ThrottleChanged", "Retrying"),
        *("AttemptStarted", "Generated", "ThrottleChanged", "Delivered"),
    ]


def test_each_event_is_reported_before_the_order_goes_on() -> None:
    script = Script(httpx.Response(429), httpx.Response(500, json={"message": "Later."}), BY_URL, IMAGE)
    diary = Diary(script)

    image = order(script, diary)

    assert diary.names == [
        *("AttemptStarted", "ThrottleChanged", "Retrying", "AttemptStarted", "ThrottleChanged", "Retrying"),
        *("AttemptStarted", "Generated", "Delivered"),
    ]
    assert diary.requests == [0, 1, 1, 1, 2, 2, 2, 3, 4]  # each attempt is reported before it is sent
    _, paused, refused, _, recovered, failed, started, generated, delivered = diary.events
    assert isinstance(paused, events.ThrottleChanged)
    assert paused.state.mode == "paused"
    assert isinstance(recovered, events.ThrottleChanged)
    assert recovered.state.mode == "full speed"
    assert isinstance(refused, events.Retrying)
    assert isinstance(refused.error, errors.RateLimitError)
    assert isinstance(failed, events.Retrying)
    assert 0.5 <= failed.wait <= 1.0
    assert isinstance(started, events.AttemptStarted)
    assert (started.attempt, without_nonces(started.request_id)) == (3, "o1.3")
    assert isinstance(generated, events.Generated)
    assert (generated.urls, generated.usage.usd_spent) == ((URL,), 0.05)
    assert delivered == events.Delivered("o1", image)


@pytest.mark.parametrize(
    ("answers", "last", "kind"),
    [
        ([httpx.Response(400)], events.Failed, errors.APIStatusError),
        ([httpx.Response(500, json={"message": "Later."})], events.Failed, errors.ServerError),
        ([httpx.ConnectError("no")], events.Failed, errors.ConnectionFailedError),
        ([httpx.ReadTimeout("")], events.Unknown, errors.OutcomeUnknownError),
        ([httpx.Response(524)], events.Unknown, errors.ProxyTimeoutError),
        ([httpx.Response(200, json={"data": []})], events.Unknown, errors.NoImageError),
        ([BY_URL, httpx.Response(404)], events.Failed, errors.DownloadError),
        ([BY_URL, httpx.Response(200, content=b"<html>")], events.Failed, errors.DecodeError),
    ],
)
def test_the_last_event_says_how_the_order_ended(
    answers: list[Any], last: type[events.Failed], kind: type[errors.ImageError]
) -> None:
    script = Script(*answers)
    diary = Diary(script)

    with pytest.raises(kind) as caught:
        order(script, diary)

    assert type(diary.events[-1]) is last
    assert diary.events[-1].error is caught.value


def test_a_deadline_is_reported() -> None:
    script = Script(httpx.Response(429, headers={"retry-after": "60"}))
    diary = Diary(script)

    with pytest.raises(errors.DeadlineExceededError):
        order(script, diary, deadline=5)

    assert diary.names == ["AttemptStarted", "ThrottleChanged", "Retrying", "Failed"]


def test_nothing_is_sent_if_the_observer_fails() -> None:
    script = Script(OK)

    with pytest.raises(OSError, match="disk is full"):
        order(script, Diary(script, fails_at=events.AttemptStarted))

    assert script.requests == []


def plain(event: events.Event) -> None:
    raise AssertionError


async def noted(notes: list[events.Event], event: events.Event) -> None:
    notes.append(event)


@pytest.mark.parametrize("observer", [plain, partial(plain), [].append, print, object.__repr__])
def test_an_observer_that_is_not_async_is_refused_at_once(observer: Any) -> None:
    with pytest.raises(errors.InvalidRequestError, match=r"observer must be an async function"):
        ImageClient(KEY, observer=observer)


def test_a_lambda_that_is_not_async_is_refused_before_anything_is_sent() -> None:
    script = Script(OK)
    told: Any = lambda event: None  # noqa: E731

    with pytest.raises(errors.InvalidRequestError, match=r"observer must be an async function .* returned None"):
        order(script, told)

    assert script.requests == []


def test_an_observer_may_be_any_awaitable_callable() -> None:
    notes: list[events.Event] = []

    @wraps(noted)
    def wrapped(event: events.Event) -> Any:
        return noted(notes, event)

    observers: list[Any] = [partial(noted, notes), lambda event: noted(notes, event), wrapped, AsyncMock()]
    for observer in observers:
        order(Script(OK), observer)

    assert len(notes) == 3 * len(["AttemptStarted", "Generated", "Delivered"])


@pytest.mark.parametrize("event", [events.Generated, events.Delivered])
def test_a_paid_image_survives_a_failing_observer(event: type[events.Event], tmp_path: Path) -> None:
    script = Script(BY_URL, IMAGE)
    diary = Diary(script, fails_at=event)

    with pytest.raises(errors.NotSavedError, match="observer failed: OSError") as caught:
        order(script, diary, to=tmp_path / "fox")

    assert caught.value.image.data == PIXEL
    assert caught.value.image.path == tmp_path / "fox.png"
    assert diary.names[-2:] == ["Generated", "Delivered"]


def test_a_failing_observer_does_not_hide_an_error() -> None:
    script = Script(httpx.Response(400))

    with pytest.raises(errors.APIStatusError) as caught:
        order(script, Diary(script, fails_at=events.Failed))

    assert caught.value.__notes__ == ["the observer failed as well: OSError('the disk is full')"]


def test_the_log_has_one_line_for_each_event(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "aimlapi_images")
    script = Script(httpx.Response(500, json={"message": "Later."}), BY_URL, IMAGE)

    order(script, Diary(script), policy=RetryPolicy(first_wait=0.0))

    lines = [without_nonces(record.getMessage()) for record in caplog.records if record.name == "aimlapi_images"]
    assert lines[:-1] == [
        "order o1: sending attempt 1 as o1.1",
        "order o1: attempt 1 failed, retrying in 0.0 s: HTTP 500: Later.",
        "order o1: sending attempt 2 as o1.2",
        f"order o1: generated in attempt 2, $0.0500, {URL}",
    ]
    assert lines[-1].startswith("order o1: delivered: png, 69 bytes")


@pytest.mark.parametrize(
    ("answer", "level", "line"),
    [
        (httpx.Response(400, json={"message": "No."}), "INFO", "order o1: failed: HTTP 400: No."),
        (httpx.Response(524, json={"message": "No."}), "WARNING", "order o1: outcome unknown: HTTP 524: No."),
    ],
)
def test_only_an_unknown_outcome_is_logged_as_a_warning(
    answer: httpx.Response, level: str, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "aimlapi_images")
    script = Script(answer)

    with pytest.raises(errors.APIStatusError):
        order(script, Diary(script))

    (record,) = [each for each in caplog.records if each.name == "aimlapi_images"]
    assert (record.levelname, record.getMessage()) == (level, line)


def test_an_order_of_a_batch_has_an_observer_of_its_own_that_is_told_first() -> None:
    told: list[str] = []

    async def main() -> None:
        async def tell(event: events.Event) -> None:
            told.append(f"client: {type(event).__name__}")

        async def tell_batch(event: events.Event) -> None:
            told.append(f"batch: {type(event).__name__}")

        async with ImageClient(KEY, transport=Script(BY_URL, IMAGE).transport, observer=tell) as client:
            order = GenerationOrder.new("x", model="openai/gpt-image-1-5", parameters={})
            await client._pipeline.run(order, observer=tell_batch)

    run_in_virtual_time(main())

    assert told[:4] == ["batch: AttemptStarted", "client: AttemptStarted", "batch: Generated", "client: Generated"]


def test_nothing_is_printed_unless_logging_is_configured() -> None:
    script = "import logging\nfrom aimlapi_images import events\nevents.logger.warning('outcome unknown')"
    quiet, loud = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for code in (script, script.replace("\n", "\nlogging.basicConfig()\n", 1))
    )

    assert (quiet.stdout, quiet.stderr) == ("", "")
    assert "outcome unknown" in loud.stderr
