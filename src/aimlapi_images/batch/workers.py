"""One run of a batch: jobs are read from the state, carried out, and told as events."""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final

from aimlapi_images.batch import models
from aimlapi_images.batch.cloud.checkpoints import Copies
from aimlapi_images.batch.cloud.cluster import Cluster
from aimlapi_images.batch.making import Maker
from aimlapi_images.batch.reading.loading import Plan
from aimlapi_images.batch.results import write_results
from aimlapi_images.batch.store.database import Journal
from aimlapi_images.batch.store.folder import RESULTS
from aimlapi_images.batch.store.state import State
from aimlapi_images.client import ImageClient
from aimlapi_images.errors import BatchError, ImageError
from aimlapi_images.events import Event, ThrottleChanged
from aimlapi_images.threads import Threads

_CHUNK: Final = 200  # jobs read from the state at a time
_FAILURES_IN_A_ROW: Final = 20  # after which the API is taken for down
_FILES_KEPT_FREE: Final = 40  # open files that are not those of orders


class Workers:
    """The workers of one run, with bounded work in flight."""

    def __init__(
        self,
        client: ImageClient,
        state: State,
        out: Path,
        plan: Plan,
        stop: asyncio.Event,
        copies: Copies | None,
        cluster: Cluster | None,
    ) -> None:
        self.fatal: ImageError | None = None
        self._state, self._out, self._plan, self._stop, self._copies = state, out, plan, stop, copies
        self._journal = Journal(state)
        bucket = None if copies is None else copies.bucket
        self._maker = Maker(client, state, self._journal, out, plan.nonce, self._observe, bucket, cluster)
        self._todo: array[int] = plan.todo
        self._next = 0
        self._rows: deque[Any] = deque()
        self._reading = asyncio.Lock()
        self._failures = 0
        self._changed = False
        size = min(_in_flight(client._pipeline.throttle.max_concurrency), len(plan.todo))
        self._events: asyncio.Queue[models.BatchEvent | None] = asyncio.Queue()  # `None`: a worker has ended
        self._room = asyncio.Semaphore(max(1, size))  # for results in it
        self._workers = [asyncio.create_task(self._work()) for _ in range(size)]
        self._copying = asyncio.create_task(self._copy(copies, client._threads)) if copies is not None else None

    async def events(self) -> AsyncGenerator[models.BatchEvent, None]:
        """What happens, until all is done. If it is closed, what is paid for still arrives."""
        running = len(self._workers)
        try:
            while running:
                if (event := await self._take()) is None:
                    running -= 1
                else:
                    yield event
        except GeneratorExit:
            self._stop.set()
            while running:
                running -= await self._take() is None
            raise
        finally:
            tasks = [*self._workers, *([self._copying] if self._copying else [])]
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result

    async def _take(self) -> models.BatchEvent | None:
        event = await self._events.get()
        if isinstance(event, models.JobEnded):
            self._room.release()
        return event

    async def _work(self) -> None:
        try:
            while (row := await self._row()) is not None:
                self._changed = True
                result, error = await self._maker.make(row)
                if error is not None and models.stops_all(error):
                    self.fatal = self.fatal or error
                self._learn(result.status, error)
                if result.status is not models.Status.PENDING:
                    await self._room.acquire()
                    self._events.put_nowait(models.JobEnded(result))
        except BatchError as error:
            self.fatal = self.fatal or error
        finally:
            self._events.put_nowait(None)

    async def _row(self) -> Any:
        """The next job, or `None` if no further one is to be started."""
        await self._maker.can_save.wait()
        async with self._reading:
            if not self._rows and not self._over():
                numbers = self._todo[self._next : self._next + _CHUNK]
                self._next += len(numbers)
                self._rows.extend(await self._journal.write(self._state.jobs, numbers))
        return None if self._over() or not self._rows else self._rows.popleft()

    def _over(self) -> bool:
        if self._state.is_full:
            self.fatal = self.fatal or BatchError(f"the disk of {self._out} is full")
        if self._copies is not None and self._copies.is_late:
            self.fatal = self.fatal or BatchError(f"the last copy of the state in {self._copies.bucket.url} is too old")
        return self._stop.is_set() or self.fatal is not None

    def _learn(self, status: models.Status, error: ImageError | None) -> None:
        """Stop if the API seems to be down: otherwise thousands of orders might be paid for without an image."""
        if status is models.Status.DONE:
            self._failures = 0
        elif status is not models.Status.REFUSED:
            self._failures += 1
        if self._failures >= max(_FAILURES_IN_A_ROW, len(self._workers)):
            message = f"{self._failures} jobs failed one after the other, the last one with: {error}"
            self.fatal = self.fatal or BatchError(message)

    async def _copy(self, copies: Copies, threads: Threads) -> None:
        """Keep a copy of the state in the bucket. Without one, no further order is sent."""
        try:
            await copies.keep(threads)
        except BatchError as error:
            self.fatal = self.fatal or error

    async def _observe(self, event: Event) -> None:
        """Tell what slows the batch down."""
        if isinstance(event, ThrottleChanged):
            mode = event.state.mode
            self._events.put_nowait(models.Throttled("" if mode == "full speed" else f"{mode}: {event.state.reason}"))

    def end(self) -> models.BatchEnded:
        """Write what is left to be written, and sum up."""
        self._journal.close()
        interrupted = "stopped" if self._stop.is_set() else None
        stopped = str(self.fatal) if self.fatal is not None else interrupted
        run = self._plan.run
        try:
            self._state.transaction(lambda: self._state.end_run(run, stopped))
            if self._changed or not (self._out / RESULTS).exists():
                write_results(self._state, self._out / RESULTS, "jsonl")
            if self._copies is not None:
                self._copies.write()
                self._copies.bucket.put(RESULTS, self._out / RESULTS)
        except (ImageError, OSError) as error:
            problem = error if isinstance(error, ImageError) else BatchError(f"{RESULTS} cannot be written: {error}")
            self.fatal = self.fatal or problem
            stopped = f"{self.fatal}{self._state.rescue()}"
        spent, unpriced = self._state.spending()
        return models.BatchEnded(self._state.counts(run), self._state.reasons(run), spent, unpriced, stopped)


def _in_flight(max_concurrency: int) -> int:
    """How many jobs to work on at a time: the limit of open requests, and as many that are saved or wait."""
    wanted = 2 * max_concurrency
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return wanted
    return max(1, min(wanted, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _FILES_KEPT_FREE) // 2))
