"""All SQL of a batch. `tables.sql` describes the tables."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from aimlapi_images.batch.models import Status
from aimlapi_images.batch.store.database import Database
from aimlapi_images.batch.store.folder import StoredImage, utc_now
from aimlapi_images.errors import ImageError
from aimlapi_images.models import Usage

_KIND: Final = "json_extract(parameters, '$.model', '$.size', '$.quality', '$.n')"

_IMAGE: Final = ", ".join(field.name for field in attrs.fields(StoredImage))


class State(Database):
    """The state of one folder. Methods that change it belong into a `transaction`."""

    # ---- Before the run

    def begin_run(self) -> int:
        """Record a run. Returns its number."""
        self.recover()
        start = "INSERT INTO runs (host, pid, started) VALUES (?, ?, ?)"
        return self.db.execute(start, (socket.gethostname(), os.getpid(), utc_now())).lastrowid or 0

    def recover(self) -> None:
        """Record that what a killed run left open has an unknown outcome."""
        for table, column in (("attempts", "outcome"), ("jobs", "status")):
            self.db.execute(
                f"UPDATE {table} SET {column} = 'unknown', error_class = 'BatchError', "  # noqa: S608
                f"error_message = 'the run ended while the request was open' WHERE {column} = 'sent'"
            )

    def end_run(self, run: int, stopped: str | None) -> None:
        self.db.execute("UPDATE runs SET ended = ?, stopped = ? WHERE run = ?", (utc_now(), stopped, run))

    def nonce(self) -> str:
        return str(self.db.execute("SELECT nonce FROM batch").fetchone()[0])

    def bucket(self) -> str | None:
        """The URL of the bucket with the images, if they are in one."""
        found: str | None = self.db.execute("SELECT bucket FROM batch").fetchone()[0]
        return found

    def set_bucket(self, url: str | None) -> None:
        self.db.execute("UPDATE batch SET bucket = ?", (url,))

    def add_job(self, id_: str, name: str, line: int | None, parameters: str, carried: str, run: int) -> bool:
        """Add a job. Returns `False` if there is one with this id or name already."""
        add = "INSERT OR IGNORE INTO jobs (id, name, line, parameters, carried, run) VALUES (?, ?, ?, ?, ?, ?)"
        return self.db.execute(add, (id_, name, line, parameters, carried, run)).rowcount == 1

    def list_again(self, id_: str, line: int | None, parameters: str, carried: str, run: int) -> bool:
        """List a job of an earlier run in this one. Returns `False` if there is none with this id and content."""
        again = "UPDATE jobs SET run = ?, line = ?, carried = ? WHERE id = ? AND run <> ? AND parameters = ?"
        return self.db.execute(again, (run, line, carried, id_, run, parameters)).rowcount == 1

    def find_job(self, id_: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self.db.execute("SELECT * FROM jobs WHERE id = ?", (id_,)).fetchone()
        return row

    def change_job(self, job: int, **values: object) -> None:
        """Set columns of a job."""
        columns = ", ".join(f"{name} = ?" for name in values)
        self.db.execute(f"UPDATE jobs SET {columns} WHERE job = ?", (*values.values(), job))  # noqa: S608

    def list_all(self, run: int) -> int:
        """List the jobs of all earlier runs in this one. Returns their number."""
        return self.db.execute("UPDATE jobs SET run = ?", (run,)).rowcount

    def reopen(self, run: int, status: Status) -> None:
        """Let all jobs of this run with this status be made again."""
        reopen = "UPDATE jobs SET status = 'pending' WHERE run = ? AND status = ?"
        self.db.execute(reopen, (run, status))

    def saved_images(self, run: int) -> Iterator[tuple[int, StoredImage]]:
        """The files of jobs of this run that are done, each with its job's number."""
        saved = f"SELECT job, {_IMAGE} FROM jobs JOIN files USING (job) WHERE run = ? AND status = 'done'"  # noqa: S608
        return ((job, StoredImage(*image)) for job, *image in self.db.execute(saved, (run,)))

    def jobs_with(self, run: int, *statuses: Status) -> array[int]:
        """The numbers of the jobs of this run with these statuses."""
        marks = ", ".join("?" * len(statuses))
        chosen = f"SELECT job FROM jobs WHERE run = ? AND status IN ({marks}) ORDER BY job"  # noqa: S608
        return array("q", (row[0] for row in self.db.execute(chosen, (run, *statuses))))

    def other_jobs(self, run: int) -> int:
        """Number of jobs that are not in this run and not done."""
        others = "SELECT count(*) FROM jobs WHERE run <> ? AND status <> 'done'"
        return int(self.db.execute(others, (run,)).fetchone()[0])

    # ---- During the run

    def jobs(self, numbers: Sequence[int]) -> list[sqlite3.Row]:
        """Jobs to be carried out, with the URLs of their last attempt and the number of attempts, in this order."""
        chosen = (
            "SELECT jobs.*, count(attempt) AS attempts, max(attempt), urls, kept "
            "FROM jobs LEFT JOIN attempts USING (job) WHERE job = ? GROUP BY job"
        )
        return [self.db.execute(chosen, (number,)).fetchone() for number in numbers]

    def attempt_starts(self, job: int, request_id: str) -> None:
        """An attempt is about to be sent, and may be billed from now on."""
        start = "INSERT INTO attempts (job, request_id, sent) VALUES (?, ?, ?)"
        self.db.execute(start, (job, request_id, utc_now()))
        self.change_job(job, status=Status.SENT, error_class=None, error_message=None)

    def attempt_ends(self, job: int, request_id: str, outcome: str, error: ImageError, status: Status) -> None:
        """An attempt failed."""
        end = (
            "UPDATE attempts SET outcome = ?, inference_id = ?, error_class = ?, error_message = ? WHERE request_id = ?"
        )
        self.db.execute(end, (outcome, error.inference_id, type(error).__name__, str(error.args[0]), request_id))
        self.job_ends(job, status, error)

    def job_ends(self, job: int, status: Status, error: ImageError) -> None:
        """A job ended without a file."""
        self.change_job(job, status=status, error_class=type(error).__name__, error_message=str(error.args[0]))

    def attempt_generated(
        self, job: int, request_id: str, urls: Sequence[str], usage: Usage, inference_id: str | None
    ) -> None:
        """An attempt was answered with images: it is paid for."""
        end = (
            "UPDATE attempts SET outcome = 'generated', urls = ?, credits = ?, usd = ?, inference_id = ? "
            "WHERE request_id = ?"
        )
        self.db.execute(end, (json.dumps(urls), usage.credits_used, usage.usd_spent, inference_id, request_id))
        self.change_job(job, status=Status.GENERATED)

    def keep(self, job: int, paths: Sequence[str]) -> None:
        """The images of the last attempt are kept elsewhere."""
        last = "UPDATE attempts SET kept = ? WHERE attempt = (SELECT max(attempt) FROM attempts WHERE job = ?)"
        self.db.execute(last, (json.dumps(paths), job))

    def saved(self, out: Path | None, job: int, images: Iterable[StoredImage]) -> None:
        """The files of a job are there. Their names become durable, too, unless they are in a bucket (`None`)."""
        for image in images:
            values = attrs.astuple(image)
            self.db.execute(f"INSERT OR REPLACE INTO files VALUES (?, {', '.join('?' * len(values))})", (job, *values))  # noqa: S608
            if out is not None:
                self.new_folders.add((out / image.path).parent)
        self.change_job(job, status=Status.DONE, remake=0, error_class=None, error_message=None)

    def found(self, job: int) -> None:
        """The image of a job is there, although its last attempt counts as lost."""
        self.db.execute(
            "UPDATE attempts SET outcome = 'generated' WHERE outcome = 'billed' "
            "AND attempt = (SELECT max(attempt) FROM attempts WHERE job = ?)",
            (job,),
        )

    # ---- Results

    def results(self, job: int | None = None) -> Iterator[sqlite3.Row]:
        """Rows of the view `results`, of all jobs or of one."""
        if job is None:
            return self.db.execute("SELECT * FROM results ORDER BY job")
        return self.db.execute("SELECT * FROM results WHERE job = ?", (job,))

    def number_of_jobs(self) -> int:
        return int(self.db.execute("SELECT count(*) FROM jobs").fetchone()[0])

    def images(self, job: int) -> list[StoredImage]:
        """The files of a job."""
        rows = self.db.execute(f"SELECT {_IMAGE} FROM files WHERE job = ? ORDER BY number", (job,))  # noqa: S608
        return [StoredImage(*row) for row in rows]

    def counts(self, run: int) -> dict[Status, int]:
        """Number of jobs of a run by status."""
        counts = self.db.execute("SELECT status, count(*) FROM jobs WHERE run = ? GROUP BY status", (run,))
        return {Status(status): number for status, number in counts}

    def reasons(self, run: int) -> list[tuple[Status, str, int]]:
        """Number of jobs of a run that are not done, by status and error, the most frequent first."""
        reasons = self.db.execute(
            "SELECT status, coalesce(error_class || ': ' || min(error_message), ''), count(*) FROM jobs "
            "WHERE run = ? AND status <> 'done' GROUP BY status, error_class ORDER BY 3 DESC",
            (run,),
        )
        return [(Status(status), text, number) for status, text, number in reasons]

    def spending(self) -> tuple[float, int]:
        """What all attempts cost in US dollars as far as known, and how many may cost something more."""
        usd, unpriced = self.db.execute(
            "SELECT total(usd), total(usd IS NULL AND outcome NOT IN ('failed', 'unbilled')) FROM attempts"
        ).fetchone()
        return round(usd, 9), int(unpriced)

    def dearest_attempt(self) -> float | None:
        """The highest cost of an attempt in US dollars, or `None` if none is known."""
        dearest: float | None = self.db.execute("SELECT max(usd) FROM attempts").fetchone()[0]
        return dearest

    def estimate(self, run: int) -> float | None:
        """What the pending jobs of a run will cost, if earlier jobs of each kind have."""
        wanted = f"SELECT {_KIND} AS kind, count(*) AS number FROM jobs WHERE run = ? AND status = 'pending' GROUP BY 1"  # noqa: S608
        prices = (
            f"SELECT {_KIND} AS kind, avg(usd) AS price FROM jobs JOIN attempts USING (job) "  # noqa: S608
            "WHERE usd > 0 GROUP BY 1"
        )
        estimate = (
            f"SELECT total(number * price), total(price IS NULL) FROM ({wanted}) LEFT JOIN ({prices}) USING (kind)"  # noqa: S608
        )
        usd, unknown = self.db.execute(estimate, (run,)).fetchone()
        return None if unknown else usd

    # ---- Settling unknown outcomes

    def open_attempts(self) -> list[sqlite3.Row]:
        """Attempts whose outcome or cost is unknown."""
        return self.db.execute(
            "SELECT * FROM attempts WHERE outcome IN ('sent', 'unknown') "
            "OR (outcome IN ('generated', 'billed') AND credits IS NULL) ORDER BY attempt"
        ).fetchall()

    def settle(self, attempt: int, outcome: str, usage: Usage, inference_id: str | None) -> None:
        """Record how an attempt ended, as the provider's log says."""
        self.db.execute(
            "UPDATE attempts SET outcome = ?, credits = ?, usd = ?, inference_id = coalesce(?, inference_id) "
            "WHERE attempt = ?",
            (outcome, usage.credits_used, usage.usd_spent, inference_id, attempt),
        )

    def settle_jobs(self) -> None:
        """Let jobs follow from their attempts: those that cost nothing may be sent again, the others are lost."""
        settled = "status = 'unknown' AND job NOT IN (SELECT job FROM attempts WHERE outcome IN ('sent', 'unknown'))"
        last = "(SELECT outcome FROM attempts WHERE attempts.job = jobs.job ORDER BY attempt DESC LIMIT 1)"
        lost = "status = 'lost', error_message = 'it was billed, and its image is lost'"
        self.db.execute(f"UPDATE jobs SET {lost} WHERE {settled} AND {last} = 'billed'")  # noqa: S608
        self.db.execute(f"UPDATE jobs SET status = 'pending' WHERE {settled}")  # noqa: S608

    # ---- Taking over a copy from the bucket

    def copied(self) -> str | None:
        """When this file was copied, if it is a copy that no run has taken over yet."""
        found: str | None = self.db.execute("SELECT copied FROM batch").fetchone()[0]
        return found

    def forget_copy(self) -> None:
        self.db.execute("UPDATE batch SET copied = NULL")

    def open_run(self) -> sqlite3.Row | None:
        """The latest run, if it has not ended."""
        row: sqlite3.Row = self.db.execute("SELECT * FROM runs ORDER BY run DESC LIMIT 1").fetchone()
        return None if row is None or row["ended"] else row
