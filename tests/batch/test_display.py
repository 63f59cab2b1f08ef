"""The words of the display and of the summary."""

from __future__ import annotations

import io
from typing import Any

import attrs
import pytest

from aimlapi_images.batch import BatchEnded, BatchStarted, JobEnded, JobResult, Notice, Status, Throttled
from aimlapi_images.batch.display import Tally, duration, show_lines, summary


def ended(status: Status, message: str | None = None) -> JobEnded:
    result = JobResult(id="fox", status=status, parameters={}, carried={}, error_message=message)
    return JobEnded(result)


@attrs.define
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.6, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (4800, "1 h 20 min"), (200_000, "2 d 7 h")],
)
def test_time_spans_have_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_one_line_tells_everything() -> None:
    clock = Clock()
    tally = Tally(budget_usd=10.0, clock=clock)
    tally.tell(BatchStarted(1000, {Status.PENDING: 1000}, 1000, 1.5, None, "out"))
    for second in range(100):
        clock.now = float(second)
        tally.tell(ended(Status.FAILED if second == 50 else Status.DONE))
    tally.tell(Throttled("paused: the API refuses nearly everything"))

    assert tally.words() == (
        "99 done, 1 failed, 61 a minute, 14 min 45 s left, $1.50 spent of $10.00, "
        "paused: the API refuses nearly everything"
    )


def test_plain_lines_come_now_and_then_and_for_each_failure() -> None:
    out, clock = io.StringIO(), Clock()
    show = show_lines(Tally(clock=clock), out)
    events: list[Any] = [
        Notice("line 2 is a duplicate"),
        BatchStarted(3, {Status.PENDING: 3}, 3, 0.0, 0.1, "out"),
        ended(Status.DONE),
        ended(Status.REFUSED, "HTTP 400:\nno"),
        Throttled("slowed: x"),
        Throttled(""),
    ]
    for event in events:
        show(event)
    clock.now = 11.0
    show(ended(Status.DONE))

    assert out.getvalue().splitlines() == [
        "line 2 is a duplicate",
        "3 jobs (3 pending); 3 to do, about $0.10, into out",
        "fox: refused: HTTP 400: no",
        "slowed: x",
        "at full speed again",
        "3 of 3: 2 done, 1 failed, 16 a minute, 0 s left, $0.00 spent",
    ]


def test_the_summary_names_reasons_and_the_next_command() -> None:
    counts: dict[Status, int] = {status: 1 for status in Status if status is not Status.SENT}
    reasons = [(Status.LOST, f"Error{number}: x", 10 - number) for number in range(10)]
    event = BatchEnded(counts, reasons, 1.25, 2, "no credits")

    lines = list(summary(event, "'my out'", "aimlapi-images batch x --out 'my out'"))

    assert lines[0] == "1 of 7 done, $1.2500 spent, and 2 attempts of unknown cost"
    assert lines[1] == "  10 lost: Error0: x"
    assert lines[9:] == [
        "  and 2 other reasons",
        "stopped early: no credits",
        "1 may have been billed; to find out: aimlapi-images reconcile 'my out'",
        "1 paid for; the next run fetches the image",
        "1 still to be sent",
        "1 failed at no cost; the next run tries again",
        "1 refused at no cost; to try again, add --retry-refused",
        "1 paid for and lost; to make again, and pay again, add --retry-lost",
        "to go on: aimlapi-images batch x --out 'my out'",
    ]
