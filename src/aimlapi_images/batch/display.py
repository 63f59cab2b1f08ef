"""What a batch looks like while it runs: a live display, plain lines, or events as JSON; and the summary at its end."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import attrs

from aimlapi_images.batch.models import (
    BatchEnded,
    BatchEvent,
    BatchStarted,
    JobEnded,
    JobResult,
    Notice,
    Status,
    Throttled,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from aimlapi_images.batch.reconciliation import Reconciled
    from aimlapi_images.client import ImageClient

_RATE_OVER: Final = 60.0  # seconds
_PLAIN_EVERY: Final = 10.0  # seconds between lines about the progress
_REASON_LENGTH: Final = 300
_LISTED: Final = 8  # reasons in the summary


@attrs.define
class Tally:
    """What is known while a batch runs.

    Attributes:
        client: Its client, which knows what is open and spent; `None` before there is one.
        budget_usd: The budget of the batch, or `None`.
    """

    client: ImageClient | None = None
    budget_usd: float | None = None
    clock: Callable[[], float] = time.monotonic
    start: BatchStarted | None = None
    throttled: str = ""
    ended: Counter[Status] = attrs.field(factory=Counter)
    _times: deque[float] = attrs.field(factory=deque)

    def tell(self, event: BatchEvent) -> None:
        match event:
            case BatchStarted():
                self.start = event
            case JobEnded():
                self.ended[event.result.status] += 1
                self._times.append(self.clock())
            case Throttled():
                self.throttled = event.reason

    @property
    def total(self) -> int:
        return sum(self.ended.values())

    @property
    def todo(self) -> int:
        return self.start.todo if self.start else 0

    def per_minute(self) -> float:
        """Jobs that ended per minute, over the last one."""
        now = self.clock()
        while self._times and self._times[0] < now - _RATE_OVER:
            self._times.popleft()
        if len(self._times) < 2:
            return 0.0
        return 60.0 * len(self._times) / max(1e-3, now - self._times[0])

    def words(self) -> str:
        """Everything in one line."""
        failed = self.total - self.ended[Status.DONE]
        rate = self.per_minute()
        parts = [f"{self.ended[Status.DONE]:,} done", f"{failed:,} failed" if failed else ""]
        if self.client is not None:
            parts.append(f"{self.client.throttle.open} in flight")
        if rate:
            parts += [f"{rate:,.0f} a minute", f"{duration(60 * (self.todo - self.total) / rate)} left"]
        parts += [self.money(), self.throttled]
        return ", ".join(filter(None, parts))

    def money(self) -> str:
        """What is spent, of the budget if there is one."""
        spent = (self.start.spent_usd if self.start else 0.0) + (self.client.spending.usd_spent if self.client else 0.0)
        return f"${spent:,.2f} spent" + (f" of ${self.budget_usd:,.2f}" if self.budget_usd is not None else "")


def duration(seconds: float) -> str:
    """A time span in two units, such as `1 h 20 min`."""
    seconds = round(seconds)
    for size, unit, smaller, name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{seconds} s"


def show_nothing(tally: Tally) -> Callable[[BatchEvent], None]:
    """Only keep the tally."""
    return tally.tell


def show_json(tally: Tally) -> Callable[[BatchEvent], None]:
    """One JSON object per event in ASCII, valid in any locale, on standard output."""

    def show(event: BatchEvent) -> None:
        tally.tell(event)
        fields = attrs.asdict(event.result if isinstance(event, JobEnded) else event)
        print(json.dumps({"event": type(event).__name__, **fields}), flush=True)  # noqa: T201

    return show


def show_lines(tally: Tally, out: Any = None) -> Callable[[BatchEvent], None]:
    """A line now and then, and one for each job that fails, on standard error."""
    printed = [tally.clock()]

    def line(text: str) -> None:
        print(" ".join(text.split()), file=out or sys.stderr, flush=True)

    def show(event: BatchEvent) -> None:
        tally.tell(event)
        match event:
            case Notice():
                line(event.text)
            case BatchStarted():
                line(started(event))
            case JobEnded() if event.result.status is not Status.DONE:
                line(failure(event.result))
            case Throttled():
                line(event.reason or "at full speed again")
        if tally.clock() - printed[0] >= _PLAIN_EVERY and isinstance(event, JobEnded):
            printed[0] = tally.clock()
            line(f"{tally.total:,} of {tally.todo:,}: {tally.words()}")

    return show


class Live:
    """A display of one bar and one line, drawn by Rich, above which lines scroll. Use it as `with`.

    Args:
        tally: What it shows.
        console: Where it is drawn; standard error by default.
    """

    def __init__(self, tally: Tally, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self._tally = tally
        self._console = console or Console(stderr=True)
        self._live = RichLive(get_renderable=self.render, console=self._console, refresh_per_second=4)
        self._lines = show_lines(tally, self)

    def __enter__(self) -> Live:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, event: BatchEvent) -> None:
        """Show an event."""
        self._lines(event)

    def write(self, text: str) -> None:
        """Print a line above the bar, as `print(file=...)` does."""
        if text.strip() and not text.startswith(f"{self._tally.total:,} of "):
            self._console.print(text.rstrip(), markup=False, highlight=False)

    def flush(self) -> None:
        """Do nothing."""

    def render(self) -> RenderableType:
        """The bar and the line as they are now."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        tally = self._tally
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(justify="right")
        bar.add_row(ProgressBar(total=max(1, tally.todo), completed=tally.total), f"{tally.total:,}/{tally.todo:,}")
        return Group(bar, Text(tally.words()))


def started(event: BatchStarted) -> str:
    """What a run begins with, in one line."""
    counts = ", ".join(f"{number:,} {status}" for status, number in event.counts.items())
    cost = "" if not event.estimate_usd else f", about ${event.estimate_usd:,.2f}"
    return f"{event.jobs:,} jobs ({counts or 'none'}); {event.todo:,} to do{cost}, into {event.out}"


def failure(result: JobResult) -> str:
    """Why a job has no file, in one line."""
    return f"{result.id[:80]}: {result.status}: {(result.error_message or '')[:_REASON_LENGTH]}"


def settled(found: Reconciled) -> Iterator[str]:
    """What `reconcile` has found, line by line."""
    yield (
        f"{found.billed:,} were billed and are lost (${found.usd:,.4f}), "
        f"{found.unbilled:,} cost nothing and run again, {found.priced:,} have a known cost now"
    )
    if found.open:
        at = "" if found.next is None else f"; ask again after {found.next.astimezone():%Y-%m-%d %H:%M}"
        yield f"{found.open:,} are still open, as the provider's log does not tell{at}"


_NEXT: Final = {
    Status.GENERATED: ("paid for; the next run fetches the image", ""),
    Status.PENDING: ("still to be sent", ""),
    Status.FAILED: ("failed at no cost; the next run tries again", ""),
    Status.REFUSED: ("refused at no cost; to try again, add", " --retry-refused"),
    Status.LOST: ("paid for and lost; to make again, and pay again, add", " --retry-lost"),
}


def summary(event: BatchEnded, out: str, command: str) -> Iterator[str]:
    """What became of the batch, and what to do about it, line by line.

    Args:
        event: The end of the run.
        out: The output folder, for the command line.
        command: The command that goes on.
    """
    counts = event.counts
    unpriced = f", and {event.unpriced:,} attempts of unknown cost" if event.unpriced else ""
    total = sum(counts.values())
    yield f"{counts.get(Status.DONE, 0):,} of {total:,} done, ${event.spent_usd:,.4f} spent{unpriced}"
    for status, text, number in event.reasons[:_LISTED]:
        if text:
            yield f"  {number:,} {status}: {' '.join(text.split())[:_REASON_LENGTH]}"
    if len(event.reasons) > _LISTED:
        yield f"  and {len(event.reasons) - _LISTED} other reasons"
    if event.stopped:
        yield f"stopped early: {event.stopped}"
    if number := counts.get(Status.UNKNOWN, 0):
        yield f"{number:,} may have been billed; to find out: aimlapi-images reconcile {out}"
    for status, (words, flag) in _NEXT.items():
        if number := counts.get(status, 0):
            yield f"{number:,} {words}{flag}"
    flags = [flag for status, (_, flag) in _NEXT.items() if counts.get(status, 0)]
    if flags:
        more = "" if "" in flags or counts.get(Status.UNKNOWN, 0) else "".join(flags)
        yield f"to go on: {command}{more}"
