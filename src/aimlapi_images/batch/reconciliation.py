"""Settle unknown outcomes and costs with the provider's log."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs

from aimlapi_images.api.account import MAX_LOG_SPAN
from aimlapi_images.batch.cloud.bucket import located
from aimlapi_images.batch.reading.loading import opened
from aimlapi_images.batch.results import write_results
from aimlapi_images.batch.store.folder import RESULTS, STATE
from aimlapi_images.batch.store.state import State
from aimlapi_images.client import ImageClient
from aimlapi_images.config import not_negative
from aimlapi_images.errors import BatchError
from aimlapi_images.models import LogEntry, Usage

_MARGIN: Final = timedelta(days=1)  # for clocks that were set meanwhile
_PAGE_SIZE: Final = 100
_BETWEEN_PAGES: Final = 0.35  # seconds: 200 requests a minute are allowed, for all programs together


@attrs.frozen(kw_only=True)
class Reconciled:
    """What `reconcile` found about the attempts whose outcome or cost was unknown.

    Attributes:
        billed: They were billed, and their images are lost.
        usd: What those cost in US dollars.
        unbilled: They were not billed. Their jobs run again at the next resume.
        priced: Their images were there, and their cost is known now.
        open: Nothing is known yet: the log does not list them, or not as ended.
        next: When to ask again at the earliest, if any are open.
    """

    billed: int = 0
    usd: float = 0.0
    unbilled: int = 0
    priced: int = 0
    open: int = 0
    next: datetime | None = None


async def reconcile(
    client: ImageClient,
    out: str | os.PathLike[str],
    *,
    grace: float = 900.0,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Reconciled:
    """Ask the provider's log what became of attempts whose outcome or cost is unknown.

    Args:
        client: Reads the log.
        out: The folder of the batch.
        grace: Seconds after which an attempt that the log does not list counts as never received, so not billed.
            Rows appear some time after the answer, which itself takes minutes.
        sleep: Waits for a number of seconds.

    Raises:
        BatchError: There is no batch in this folder, or a run uses it.
        ImageError: The log cannot be read.
    """
    not_negative("grace", grace)
    folder = located(out)[0]
    if not (folder / STATE).exists():
        raise BatchError(f"{folder} is not the folder of a batch: there is no {STATE} in it")
    with opened(folder) as state:
        state.transaction(state.recover)
        rows = {row["request_id"]: row for row in state.open_attempts()}
        if not rows:
            return Reconciled()
        found, start = await _look_up(client, {name: _time(row["sent"]) for name, row in rows.items()}, sleep)
        now = datetime.now(UTC)
        result = state.transaction(lambda: _settle(state, rows, found, start, now, timedelta(seconds=grace)))
        write_results(state, folder / RESULTS, "jsonl")
        return result


async def _look_up(
    client: ImageClient, sent: Mapping[str, datetime], sleep: Callable[[float], Awaitable[None]]
) -> tuple[dict[str, LogEntry], datetime]:
    """The log's entries of these requests, and since when the log has been read."""
    now = datetime.now(UTC)
    end = max(*sent.values(), now) + _MARGIN
    start = max(min(*sent.values(), now) - _MARGIN, end - MAX_LOG_SPAN)
    found: dict[str, LogEntry] = {}
    async with aclosing(log_entries(client, start, end, sleep)) as pages:
        async for entries in pages:
            for entry in entries:
                name = entry.client_request_id
                if name is not None and name in sent:
                    found[name] = entry
            if sum(map(_has_ended, found.values())) == len(sent):
                break
    return found, start + _MARGIN


async def log_entries(
    client: ImageClient, start: datetime, end: datetime, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncGenerator[Sequence[LogEntry], None]:
    """Read the log page by page, as slowly as the API allows for all programs together."""
    async for page in client.log_pages(start=start, end=end, limit=_PAGE_SIZE):
        yield page.entries
        if page.has_more:
            await sleep(_BETWEEN_PAGES)


def _settle(
    state: State,
    rows: Mapping[str, Any],
    found: Mapping[str, LogEntry],
    start: datetime,
    now: datetime,
    grace: timedelta,
) -> Reconciled:
    """Settle the attempts.

    One that the log lists as not ended stays open, as does one that is older than the log reaches.
    """
    billed = unbilled = priced = 0
    usd = 0.0
    waiting: list[datetime] = []
    for request_id, row in rows.items():
        entry, known, sent = found.get(request_id), row["outcome"] in ("generated", "billed"), _time(row["sent"])
        ended = entry is not None and _has_ended(entry)
        if entry is not None and ended and known:
            state.settle(row["attempt"], row["outcome"], entry.usage, entry.inference_id)
            priced += 1
        elif entry is not None and entry.status == "succeeded":
            state.settle(row["attempt"], "billed", entry.usage, entry.inference_id)
            billed += 1
            usd += entry.usage.usd_spent or 0.0
        elif known:
            waiting.append(now + grace)
        elif ended or (entry is None and start <= sent <= now - grace):
            state.settle(row["attempt"], "unbilled", Usage(), entry.inference_id if entry else None)
            unbilled += 1
        else:
            waiting.append(max(now, sent + grace))
    state.settle_jobs()
    return Reconciled(
        billed=billed, usd=usd, unbilled=unbilled, priced=priced, open=len(waiting), next=min(waiting, default=None)
    )


def _has_ended(entry: LogEntry) -> bool:
    return entry.status in ("succeeded", "failed")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
