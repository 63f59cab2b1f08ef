"""What a batch tells its caller: the result of each job, and events for a display."""

from __future__ import annotations

import enum
import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import httpx

from aimlapi_images import errors

_STOP_ALL: Final = (
    errors.AuthenticationError,
    errors.InsufficientCreditsError,
    errors.RateLimitError,
    errors.BudgetExceededError,
    errors.BatchError,
)
_INVALID: Final = (400, 413, 415, 422)  # HTTP
_PASSING: Final = re.compile(r"HTTP (5\d\d|408|425|429) ")


class Status(enum.StrEnum):
    """How far a job has come."""

    PENDING = "pending"
    """Not sent yet, or to be sent again. It costs nothing so far."""

    SENT = "sent"
    """An attempt is under way. After a run that was killed, this becomes `unknown`."""

    UNKNOWN = "unknown"
    """It may have been billed. Not sent again until `reconcile` has settled it."""

    GENERATED = "generated"
    """Paid for, but not saved yet. The next run fetches it from its URL."""

    DONE = "done"
    """The file is there."""

    FAILED = "failed"
    """Failed without being billed. The next run tries again."""

    REFUSED = "refused"
    """The API refused it (content policy, invalid). The next run tries again only with `retry_refused`."""

    LOST = "lost"
    """Paid for, and the image cannot be had. The next run makes it again, and pays again, only with `retry_lost`."""


def ending(error: errors.ImageError, *, generated: bool) -> Status:
    """How far a job came that ended with this error. `generated`: the API had answered with an image."""
    if generated:
        return Status.LOST if isinstance(error, errors.DecodeError) else Status.GENERATED
    if error.may_be_billed:
        return Status.UNKNOWN
    if isinstance(error, _STOP_ALL):
        return Status.PENDING
    if isinstance(error, errors.ContentPolicyError | errors.InvalidRequestError):
        return Status.REFUSED
    if isinstance(error, errors.APIStatusError) and error.status in _INVALID:
        return Status.REFUSED
    return Status.FAILED


def is_gone(error: errors.ImageError) -> bool:
    """Whether fetching an image again is pointless: its URL has expired, or leads to something else."""
    if isinstance(error, errors.DownloadError):
        passing = isinstance(error.__cause__, httpx.TransportError) or _PASSING.match(str(error.__cause__))
        return not passing
    return isinstance(error, errors.DecodeError | errors.NoImageError)


def stops_all(error: errors.ImageError) -> bool:
    """Whether all other jobs would fail in the same way."""
    return isinstance(error, _STOP_ALL)


@attrs.frozen(kw_only=True)
class JobResult:
    """One job, as in `results.jsonl`. Unknown values are `None`.

    Attributes:
        id: The job's id.
        status: How far it has come.
        line: Its line in the job file.
        file: Its image, relative to the output folder, with `/` on every system.
        prompt: The prompt.
        parameters: The other fields of the request.
        carried: Columns of the job file that are not sent.
        format: `png`, `jpeg`, `webp` or `gif`, read from the bytes.
        width: In pixels.
        height: In pixels.
        bytes: Size of the file.
        sha256: Of the file, in hexadecimal.
        seconds: From the first attempt to the complete image.
        credits: What all of its attempts cost, as far as known.
        usd: The same in US dollars.
        attempts: How often it was sent, over all runs.
        request_id: The client request id of the last attempt, as in the provider's log.
        inference_id: The API's id of the last attempt.
        urls: Where the API keeps the image, for a while.
        error_class: Class of the error, if it failed.
        error_message: Its message.
    """

    id: str
    status: Status = attrs.field(converter=Status)
    line: int | None = None
    file: str | None = None
    prompt: str | None = None
    parameters: Mapping[str, Any]
    carried: Mapping[str, Any]
    format: str | None = None
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    seconds: float | None = None
    credits: int | None = None
    usd: float | None = None
    attempts: int = 0
    request_id: str | None = None
    inference_id: str | None = None
    urls: Sequence[str] = ()
    error_class: str | None = None
    error_message: str | None = None

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> JobResult:
        """Build from a row of the view `results`."""
        values = {name: row[name] for name in row.keys() if name != "job"}  # noqa: SIM118 - not a mapping
        parameters = json.loads(values["parameters"])
        parameters.pop("prompt", None)
        return cls(
            **{
                **values,
                "parameters": parameters,
                "carried": json.loads(values["carried"]),
                "urls": tuple(json.loads(values["urls"] or "[]")),
            }
        )


@attrs.frozen
class BatchEvent:
    """Base class of what `progress` is told."""


@attrs.frozen
class Notice(BatchEvent):
    """Something about the jobs that the user should know, such as a duplicate.

    Attributes:
        text: In one line.
    """

    text: str


@attrs.frozen
class BatchStarted(BatchEvent):
    """The jobs are read, checked and stored.

    Attributes:
        jobs: Number of jobs in this run.
        counts: Number of these jobs by status.
        todo: How many of them this run makes or fetches.
        spent_usd: What the batch has cost in earlier runs, as far as known.
        estimate_usd: What the jobs to be generated will cost, from earlier ones of their kind; `None` if unknown.
        out: The output folder.
    """

    jobs: int
    counts: Mapping[Status, int]
    todo: int
    spent_usd: float
    estimate_usd: float | None
    out: str


@attrs.frozen
class JobEnded(BatchEvent):
    """A job came to an end in this run.

    Attributes:
        result: The job.
    """

    result: JobResult


@attrs.frozen
class Throttled(BatchEvent):
    """What slows the batch down has changed.

    Attributes:
        reason: Such as `paused: the API refuses nearly everything`; empty at full speed.
    """

    reason: str


@attrs.frozen
class BatchEnded(BatchEvent):
    """The run is over.

    Attributes:
        counts: Number of jobs in this run by status.
        reasons: Number of jobs that are not done, by status and reason, the most frequent first.
        spent_usd: What the batch has cost over all runs, as far as known.
        unpriced: Number of attempts that were or may have been billed, and whose cost is unknown.
        stopped: Why the run ended early; `None` if it did not.
    """

    counts: Mapping[Status, int]
    reasons: Sequence[tuple[Status, str, int]]
    spent_usd: float
    unpriced: int
    stopped: str | None
