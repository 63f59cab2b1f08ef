"""Copies of the state in the bucket, so that another machine can go on if this one is lost."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import attrs

from aimlapi_images.api.account import MAX_LOG_SPAN
from aimlapi_images.batch.cloud.bucket import Bucket
from aimlapi_images.batch.reconciliation import log_entries
from aimlapi_images.batch.results import stored
from aimlapi_images.batch.store import folder as files
from aimlapi_images.batch.store.database import copy_database
from aimlapi_images.batch.store.state import State
from aimlapi_images.client import ImageClient
from aimlapi_images.errors import BatchError
from aimlapi_images.media.files import whole_file
from aimlapi_images.models import LogEntry
from aimlapi_images.threads import Threads

_EVERY: Final = 60.0  # seconds
_LONGEST: Final = 300.0  # seconds
GRACE: Final = timedelta(minutes=15)  # after which the log has everything that a run sent that could copy no more
_MARGIN: Final = timedelta(minutes=30)  # for clocks that differ
_OWNER: Final = "batch.owner.json"
_RUNS: Final = "SELECT nonce, run, host, pid, started FROM batch, runs"


@attrs.define
class Copies:
    """Keeps a copy of the state of one run in the bucket. While it does, no other machine takes over.

    Attributes:
        folder: The folder of the state.
        bucket: The bucket.
        run: What tells the run from those of other machines.
        clock: Seconds since 1970. It goes on while the machine sleeps.
    """

    folder: Path
    bucket: Bucket
    run: Mapping[str, object]
    clock: Callable[[], float] = time.time
    _at: float = attrs.field(default=0.0, init=False)

    def begin(self) -> None:
        """Say in the bucket that this run uses it, and write the first copy. Blocks."""
        self.bucket.write(_OWNER, json.dumps(self.run).encode())
        self.write()

    def write(self) -> None:
        """Write a copy, also while the state changes. Blocks.

        Raises:
            BatchError: Another machine has taken over, or the bucket cannot be written.
        """
        at = self.clock()
        if (owner := _owner(self.bucket)) != self.run:
            raise BatchError(f"another run has taken over {self.bucket.url}: {owner}")
        with tempfile.TemporaryDirectory(prefix="aimlapi-images-") as temporary:
            copy = Path(temporary) / files.STATE
            with closing(sqlite3.connect(f"{(self.folder / files.STATE).as_uri()}?mode=ro", uri=True)) as source:
                copy_database(source, copy, "UPDATE batch SET copied = ?", files.utc_now())
            self.bucket.put(files.STATE, copy)
        self._at = at

    @property
    def is_late(self) -> bool:
        """Whether the last copy is so old that another machine may take over soon: no order must be sent then."""
        return self.clock() - self._at > _EVERY + _LONGEST

    async def keep(self, threads: Threads) -> None:
        """Write a copy every minute, until this is cancelled. Raises as `write` does."""
        while True:
            await asyncio.sleep(_EVERY)
            await threads.run(self.write)


def restore_state(folder: Path, bucket: Bucket) -> None:
    """Copy the state from the bucket if there is none here, or only an earlier copy. Blocks."""
    path = folder / files.STATE
    try:
        if path.exists():
            with closing(stored(folder)) as state:
                if state.copied() is None:
                    return
        folder.mkdir(parents=True, exist_ok=True)
        if bucket.has(files.STATE):
            with whole_file(path, overwrite=True) as file:
                bucket.get(files.STATE, file.name)
    except OSError as error:
        raise BatchError(f"{folder} cannot be used for a batch: {error.strerror or error}") from error


def check_owner(folder: Path, state: State, bucket: Bucket) -> None:
    """Refuse a state that another machine has gone on with: it would send the same orders again. Blocks.

    Raises:
        BatchError: The latest run in the bucket is not one of this state.
    """
    owner = _owner(bucket)
    if owner is not None and not state.is_new and owner not in map(dict, state.db.execute(_RUNS)):
        raise BatchError(
            f"another machine has gone on with the batch in {bucket.url}: {owner}. To go on here, remove {folder}: its "
            "state is taken from the bucket then"
        )


def latest_run(state: State) -> dict[str, object]:
    """What tells the latest run of a state from those of other machines."""
    return dict(state.db.execute(f"{_RUNS} ORDER BY run DESC LIMIT 1").fetchone())


def _owner(bucket: Bucket) -> dict[str, object] | None:
    text = bucket.read(_OWNER)
    try:
        found: dict[str, object] | None = None if text is None else json.loads(text)
    except ValueError as error:
        raise BatchError(f"{bucket.url}/{_OWNER} is not that of a batch") from error
    return found


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
    return notices


async def _sent_since(client: ImageClient, at: datetime, nonce: str) -> list[LogEntry]:
    """What this batch has sent since then, oldest first."""
    now = datetime.now(UTC)
    found: list[LogEntry] = []
    async for entries in log_entries(client, max(at - _MARGIN, now - MAX_LOG_SPAN), now):
        found += [entry for entry in entries if (entry.client_request_id or "").startswith(f"{nonce}-")]
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
