"""Before a batch is sent: check and store its jobs, compare the files with the state, and say what is to be done."""

from __future__ import annotations

import json
import random
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from aimlapi_images.batch.models import BatchStarted, Status
from aimlapi_images.batch.reading.checking import Checker
from aimlapi_images.batch.reading.jobs import Job
from aimlapi_images.batch.store import folder as files
from aimlapi_images.batch.store.place import FolderPlace, Place
from aimlapi_images.batch.store.state import State
from aimlapi_images.client import DEFAULT_MODEL
from aimlapi_images.config import instance_of, one_of, optional, rule, whole_number
from aimlapi_images.errors import BatchError, InvalidRequestError
from aimlapi_images.orders.order import images_expected

_SHOWN: Final = 10  # notices of a kind, and problems

_true_or_false = rule(instance_of(bool))


@attrs.frozen(kw_only=True)
class Options:
    """The arguments of `run_batch` that decide what is done."""

    defaults: Mapping[str, Any] = attrs.field(factory=dict, validator=rule(instance_of(Mapping)))
    skip_invalid: bool = attrs.field(default=False, validator=_true_or_false)
    retry_refused: bool = attrs.field(default=False, validator=_true_or_false)
    retry_lost: bool = attrs.field(default=False, validator=_true_or_false)
    adopt: bool = attrs.field(default=False, validator=_true_or_false)
    verify: bool = attrs.field(default=False, validator=_true_or_false)
    limit: int | None = attrs.field(default=None, validator=rule(optional(whole_number)))
    order: Literal["listed", "random"] = attrs.field(default="listed", validator=rule(one_of("listed", "random")))


@attrs.frozen
class Plan:
    """What a run is going to do.

    Attributes:
        run: Number of the run.
        nonce: Of the batch, for its order ids.
        todo: Numbers of the jobs to carry out, in this order.
        notices: What the user should know, one line each.
        start: The same in numbers.
    """

    run: int
    nonce: str
    todo: array[int]
    notices: tuple[str, ...]
    start: BatchStarted


@contextmanager
def opened(out: Path) -> Iterator[State]:
    """The state of a folder, which is created and locked, for one run.

    Raises:
        BatchError: Another run uses it, or it cannot be used.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BatchError(f"{out} cannot be used for a batch: {error.strerror}") from error
    with files.locked(out):
        state = State(out / files.STATE, reserve=True)
        try:
            yield state
        finally:
            state.close()


def load(
    state: State,
    out: Path,
    jobs: Iterable[Job] | None,
    options: Options,
    place: Place | None = None,
    *,
    dry: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> Plan:
    """Check and store all jobs, or none, and plan the run. Blocks; a million jobs take less than a minute.

    Args:
        state: The state of the folder.
        out: The folder.
        jobs: The jobs; those of an earlier run if `None`.
        options: What is to be done.
        place: Where the images are; the folder if `None`.
        dry: Whether to leave state and folder as they are.
        stopped: Asked now and then whether to give up.

    Raises:
        InvalidRequestError: A job is invalid; nothing is stored.
        BatchError: The folder does not fit its state.
    """
    place = place or FolderPlace(out)
    if state.bucket() != place.bucket and not state.is_new:
        raise BatchError(f"the state in {out} is that of a batch whose images are in {state.bucket() or out}")
    if state.is_new and not options.adopt and place.has_images():
        raise BatchError(
            f"{place} has images, but no state of a batch. Use another folder; or, if its state is lost, pass adopt "
            "(--adopt): then the images that are there count as made"
        )
    if jobs is None and state.is_new:
        raise InvalidRequestError(f"{place} has no jobs of an earlier run: give the jobs")
    loading = _Loading(state, out, place, options, dry, stopped)
    return state.transaction(lambda: loading.plan(jobs), keep=not dry)


class _Loading:
    """One load."""

    def __init__(
        self,
        state: State,
        out: Path,
        place: Place,
        options: Options,
        dry: bool,
        stopped: Callable[[], bool],
    ) -> None:
        self._state, self._out, self._place = state, out, place
        self._options, self._dry, self._stopped = options, dry, stopped
        self._notices: list[str] = []
        self._problems: list[str] = []
        self._seen: Counter[str] = Counter()

    def plan(self, jobs: Iterable[Job] | None) -> Plan:
        state, options = self._state, self._options
        run = state.begin_run()
        state.set_bucket(self._place.bucket)
        total = self._store(jobs, run) if jobs is not None else state.list_all(run)
        self._report_invalid(total)
        if others := state.other_jobs(run):
            self._notices.append(f"{others:,} jobs of earlier runs are not done and not in this run")
        for status, wanted in ((Status.REFUSED, options.retry_refused), (Status.LOST, options.retry_lost)):
            if wanted:
                state.reopen(run, status)
        state.reopen(run, Status.FAILED)
        self._compare_files(run)
        self._adopt(run)
        for kind in [kind for kind, number in self._seen.items() if number > _SHOWN]:
            self._notices.append(f"{kind}: {self._seen[kind]:,} in all")
        fetch, make = state.jobs_with(run, Status.GENERATED), state.jobs_with(run, Status.PENDING)
        if options.order == "random":
            random.shuffle(make)
        todo = (fetch + make)[: options.limit]
        spent, _ = state.spending()
        counts = state.counts(run)
        start = BatchStarted(total, counts, len(todo), spent, state.estimate(run), str(self._place))
        return Plan(run, state.nonce(), todo, tuple(self._notices), start)

    def _store(self, jobs: Iterable[Job], run: int) -> int:
        total = 0
        with Checker(self._options.defaults) as checker:
            for job in jobs:
                total += 1
                if total % 1000 == 0 and self._stopped():
                    raise BatchError("stopped before anything was sent")
                fields = {"model": DEFAULT_MODEL, **self._options.defaults, **job.fields}
                if problem := job.problem or checker.problem(fields):
                    self._invalid(job, problem)
                else:
                    self._add(job, json.dumps(fields, sort_keys=True, ensure_ascii=False), run)
        return total

    def _add(self, job: Job, parameters: str, run: int) -> None:
        carried = json.dumps(job.carried, ensure_ascii=False) if job.carried else "{}"
        if not self._state.is_new and self._state.list_again(job.id, job.line, parameters, carried, run):
            return
        if self._state.add_job(job.id, files.file_name(job.id), job.line, parameters, carried, run):
            return
        known = self._state.find_job(job.id)
        if known is None:  # another job's file has this name, but for its case
            self._state.add_job(job.id, files.hashed_name(job.id), job.line, parameters, carried, run)
        elif known["run"] == run:
            where = f"line {job.line} has the id of line {known['line']} ({job.id})"
            if known["parameters"] == parameters:
                self._notice("duplicates", f"{where} and the same content: it is made once")
            else:
                self._invalid(job, f"{where} but another content")
        else:
            changes = self._changed(known["id"], Status(known["status"]), parameters)
            self._state.change_job(known["job"], run=run, line=job.line, carried=carried, **changes)

    def _changed(self, id_: str, status: Status, parameters: str) -> Mapping[str, object]:
        """What to do about a job whose parameters differ from those of an earlier run."""
        if status in (Status.PENDING, Status.FAILED, Status.REFUSED):
            self._notice("changed jobs", f"the parameters of {id_} have changed: it is made with the new ones")
            return {"parameters": parameters, "status": Status.PENDING}
        self._notice(
            "changed jobs",
            f"the parameters of {id_} have changed, but it is {status} with the old ones, and stays so: "
            "give the job another id to make another image",
        )
        return {}

    def _invalid(self, job: Job, problem: str) -> None:
        where = f"line {job.line}" if job.line is not None else f"job {job.id}"
        self._seen["invalid"] += 1
        if len(self._problems) < _SHOWN:
            self._problems.append(f"{where}: {' '.join(problem.split())[:300]}")

    def _report_invalid(self, total: int) -> None:
        number = self._seen.pop("invalid", 0)
        more = [f"and {number - _SHOWN:,} more"] if number > _SHOWN else []
        if number and not self._options.skip_invalid:
            raise InvalidRequestError(
                f"{number:,} of {total:,} jobs are invalid, so that none was sent. {'; '.join(self._problems + more)}"
            )
        self._notices += [f"skipped: {problem}" for problem in self._problems + more]

    def _notice(self, kind: str, text: str) -> None:
        self._seen[kind] += 1
        if self._seen[kind] <= _SHOWN:
            self._notices.append(text)

    def _compare_files(self, run: int) -> None:
        """Let jobs be fetched or made again whose files are missing or have changed."""
        for job in list(self._damaged(run)):
            has_urls = any(each["urls"] not in (None, "[]") for each in self._state.jobs([job]))
            self._state.change_job(job, status=Status.GENERATED if has_urls else Status.PENDING, remake=1)

    def _damaged(self, run: int) -> Iterator[int]:
        for job, image in self._state.saved_images(run):
            if (problem := self._place.problem(image, verify=self._options.verify, dry=self._dry)) is not None:
                kind = "missing files" if problem == files.MISSING else "changed files"
                self._notice(kind, f"{image.path} {problem}")
                yield job

    def _adopt(self, run: int) -> None:
        """Take images that are there for made: those that a killed run had no time to record, or all on request."""
        more = [Status.PENDING, Status.UNKNOWN, Status.LOST] if self._options.adopt else []
        for number in self._state.jobs_with(run, Status.GENERATED, *more):
            (row,) = self._state.jobs([number])
            target = files.target(self._out, number, row["name"], images_expected(json.loads(row["parameters"])))
            found = self._place.find(target.relative_to(self._out).as_posix())
            if found is not None:
                self._state.saved(self._out if self._place.bucket is None else None, number, [found])
                self._state.found(number)
