"""Copies of the state in the bucket, so that another machine can go on if this one is lost."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from aimlapi_images.api.account import MAX_LOG_SPAN
from aimlapi_images.batch.cloud.bucket import Bucket
from aimlapi_images.batch.store import folder as files
from aimlapi_images.batch.store.state import State
from aimlapi_images.client import ImageClient
from aimlapi_images.errors import BatchError
from aimlapi_images.media.files import open_part, put_in_place
from aimlapi_images.models import LogEntry
from aimlapi_images.threads import Threads

EVERY: Final = 60.0  # seconds
_LONGEST: Final = 300.0  # seconds
GRACE: Final = timedelta(minutes=15)  # after which the log has everything that a run sent that could copy no more
_BETWEEN_PAGES: Final = 0.35  # seconds: 200 requests a minute are allowed
_MARGIN: Final = timedelta(minutes=30)  # for clocks that differ


def copy_state(folder: Path, bucket: Bucket) -> None:
    """Write a copy of the state to the bucket, also while it changes. Blocks."""
    with tempfile.TemporaryDirectory(prefix="aimlapi-images-") as temporary:
        copy = Path(temporary) / files.STATE
        with (
            closing(sqlite3.connect(f"{(folder / files.STATE).as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # one file
            target.execute("UPDATE batch SET copied = ?", (files.utc_now(),))
            target.commit()
        bucket.put(files.STATE, copy)


def restore_state(folder: Path, bucket: Bucket) -> None:
    """Copy the state from the bucket if there is none here. Blocks."""
    path = folder / files.STATE
    if path.exists():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part, raw = open_part(folder)
        raw.close()
        try:
            if bucket.get(files.STATE, part):
                put_in_place(part, path, overwrite=False)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise BatchError(f"{folder} cannot be used for a batch: {error.strerror or error}") from error


async def keep_copying(folder: Path, bucket: Bucket, threads: Threads) -> None:
    """Copy the state every minute, until this is cancelled.

    Raises:
        BatchError: It cannot be copied. Then no order must be sent any more: another machine may take over.
    """
    while True:
        await asyncio.sleep(EVERY)
        try:
            async with asyncio.timeout(_LONGEST):
                await threads.run(copy_state, folder, bucket)
        except TimeoutError as error:
            raise BatchError(f"the state could not be copied to {bucket.url} within {_LONGEST:.0f} s") from error


async def take_over(client: ImageClient, state: State, bucket: Bucket) -> list[str]:
    """Add to a state that was copied from the bucket the attempts that were sent since, as the provider's log says.

    Returns:
        What the user should know.

    Raises:
        BatchError: The run that wrote the copy may still be going on.
    """
    if (copied := state.copied()) is None:
        return []
    at = datetime.fromisoformat(copied)
    notices = [f"the state is taken over from {bucket.url}, as it was at {copied}"]
    if (holder := state.open_run()) is not None:
        if (ready := at + GRACE) > datetime.now(UTC):
            raise BatchError(
                f"another run uses {bucket.url}: process {holder['pid']} on {holder['host']} was there at {copied}. If "
                f"it is lost, try again after {ready.astimezone():%H:%M}: then the provider's log has all of its orders"
            )
        sent = await _sent_since(client, at, state.nonce())
        found = state.transaction(lambda: _add(state, sent))
        notices.append(f"the provider's log has {found:,} attempts that were sent later")
    state.transaction(state.forget_copy)
    return notices


async def _sent_since(client: ImageClient, at: datetime, nonce: str) -> list[LogEntry]:
    """What this batch has sent since then, oldest first."""
    start = max(at - _MARGIN, datetime.now(UTC) - MAX_LOG_SPAN)
    found: list[LogEntry] = []
    async for page in client.log_pages(start=start, limit=100):
        found += [entry for entry in page.entries if (entry.client_request_id or "").startswith(f"{nonce}-")]
        if page.has_more:
            await asyncio.sleep(_BETWEEN_PAGES)
    return sorted(found, key=lambda entry: (entry.created or "", entry.client_request_id or ""))


def _add(state: State, sent: list[LogEntry]) -> int:
    """Add attempts that the copy does not have. Returns their number."""
    state.recover()
    jobs = {files.plain_id(id_): job for id_, job in state.db.execute("SELECT id, job FROM jobs")}
    number = 0
    for entry in sent:
        request_id = entry.client_request_id or ""
        job = jobs.get(files.job_of(request_id.rsplit(".", 2)[0]))
        outcome = {"succeeded": "billed", "failed": "unbilled"}.get(entry.status or "", "unknown")
        added = state.db.execute(
            "INSERT OR IGNORE INTO attempts (job, request_id, sent, outcome, credits, usd, inference_id) "
            "SELECT job, ?, ?, ?, ?, ?, ? FROM jobs WHERE job = ?",
            (
                *(request_id, files.utc_now(), outcome),
                *(entry.usage.credits_used, entry.usage.usd_spent, entry.inference_id, job),
            ),
        ).rowcount
        if added:
            state.db.execute("UPDATE jobs SET status = 'unknown' WHERE job = ? AND status <> 'done'", (job,))
        number += added
    state.settle_jobs()
    return number
