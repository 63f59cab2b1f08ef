"""`run_batch`: carry out jobs with bounded work in flight, and leave a folder that resumes."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, closing
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs

from aimlapi_images.batch import models
from aimlapi_images.batch.cloud.bucket import BucketPlace, located
from aimlapi_images.batch.cloud.checkpoints import Copies, check_owner, latest_run, restore_state, take_over
from aimlapi_images.batch.cloud.cluster import Cluster
from aimlapi_images.batch.reading import jobs as reading
from aimlapi_images.batch.reading.loading import Options, Plan, load, opened
from aimlapi_images.batch.store.folder import STATE
from aimlapi_images.batch.store.state import State
from aimlapi_images.batch.workers import Workers
from aimlapi_images.client import ImageClient
from aimlapi_images.errors import InvalidRequestError

Progress = Callable[[models.BatchEvent], object]
ResultT = TypeVar("ResultT")


async def run_batch(
    client: ImageClient,
    jobs: reading.Source | None,
    *,
    out: str | os.PathLike[str],
    defaults: Mapping[str, Any] | None = None,
    skip_invalid: bool = False,
    retry_refused: bool = False,
    retry_lost: bool = False,
    adopt: bool = False,
    verify: bool = False,
    limit: int | None = None,
    order: Literal["listed", "random"] = "listed",
    state: str | os.PathLike[str] | None = None,
    cluster: Cluster | None = None,
    stop: asyncio.Event | None = None,
    progress: Progress | None = None,
) -> AsyncIterator[models.JobResult]:
    """Make an image for each job, and yield results as they finish. Called again, it goes on where it ended.

    All jobs are checked before the first is sent. Each is paid for once: what may have been billed is never sent
    again, but listed as `unknown` until `reconcile` settles it. The state is in `out`; see docs/batch.md.

    Args:
        client: Its limits, deadline and budget apply.
        jobs: A file, `-`, an iterable of mappings or prompts (see `read_jobs`); those of earlier runs if `None`.
        out: The folder for the images, which is created if it does not exist; or a URL that fsspec knows, such as
            `s3://bucket/folder`, with the extra `cloud`.
        defaults: Fields of all jobs that do not have them, such as `{"quality": "low"}`.
        skip_invalid: Leave out invalid jobs, instead of refusing all.
        retry_refused: Send jobs again that the API has refused.
        retry_lost: Make images again that are paid for and lost. They are paid for again.
        adopt: Take images in `out` that have the name of a job for made. For a folder whose state is lost.
        verify: Read all files that are there, instead of those whose time has changed.
        limit: Number of jobs to carry out at most in this run.
        order: `listed` or `random`.
        state: The folder for the state, if `out` is a URL; by default one here that is named after it.
        cluster: Fetches the images into the bucket. See `run_batch_on`.
        stop: Once it is set, no job is started any more, and those that are paid for arrive.
        progress: Called with each `BatchEvent`.

    Yields:
        A result for each job that was carried out, whatever became of it.

    Raises:
        InvalidRequestError: Jobs or arguments are invalid; nothing was sent.
        BatchError: The folder or its state cannot be used, or is used by another run; or the API seems to be down.
        ImageError: No other job can succeed: no credits, a wrong key, the budget. Raised after all results.
    """
    options = Options(
        defaults=defaults or {},
        skip_invalid=skip_invalid,
        retry_refused=retry_refused,
        retry_lost=retry_lost,
        adopt=adopt,
        verify=verify,
        limit=limit,
        order=order,
    )
    folder, bucket = located(out, state)
    if cluster is not None and bucket is None:
        raise InvalidRequestError("out must be a URL, such as s3://bucket/folder: the workers of a cluster write there")
    tell = progress or (lambda event: None)
    stop = stop or asyncio.Event()
    client._http.check_usable()
    if bucket is not None:
        await client._threads.run(restore_state, folder, bucket)
    with opened(folder) as database:
        if bucket is not None:
            await client._threads.run(check_owner, folder, database, bucket)
            for text in (news := await take_over(client, database, bucket)):
                tell(models.Notice(text))
            options = attrs.evolve(options, adopt=adopt or bool(news))
        source = None if jobs is None else reading.read_jobs(jobs)
        place = None if bucket is None else BucketPlace(bucket)
        loading = partial(load, database, folder, source, options, place, stopped=stop.is_set)
        plan = await _uncancelled(asyncio.ensure_future(client._threads.run(loading)), stop)
        for text in plan.notices:
            tell(models.Notice(text))
        tell(plan.start)
        copies = None if bucket is None else Copies(folder, bucket, latest_run(database))
        if copies is not None:  # before the first order
            database.transaction(database.forget_copy)
            await client._threads.run(copies.begin)
        run = Workers(client, database, folder, plan, stop, copies, cluster)
        try:
            async with aclosing(run.events()) as events:
                async for event in events:
                    tell(event)
                    if isinstance(event, models.JobEnded):
                        yield event.result
        finally:
            ending = asyncio.ensure_future(client._threads.run(run.end))
            try:
                await _uncancelled(ending, stop)
            finally:
                tell(ending.result())
        if run.fatal is not None:
            raise run.fatal


def plan_batch(jobs: reading.Source | None, *, out: str | os.PathLike[str], **options: Any) -> Plan:
    """Say what `run_batch` would do with these arguments. State and folder stay as they are. Blocks."""
    folder, bucket = located(out, options.pop("state", None))
    source = None if jobs is None else reading.read_jobs(jobs)
    place = None if bucket is None else BucketPlace(bucket)
    if (folder / STATE).exists():
        with opened(folder) as state:
            return load(state, folder, source, Options(**options), place, dry=True)
    with tempfile.TemporaryDirectory(prefix="aimlapi-images-") as temporary:
        if bucket is not None:
            restore_state(Path(temporary), bucket)
        copy = Path(temporary) / STATE
        with closing(State(copy if copy.exists() else None)) as state:
            return load(state, folder, source, Options(**options), place, dry=True)


async def _uncancelled(work: asyncio.Future[ResultT], stop: asyncio.Event) -> ResultT:
    """Wait for a thread even if this task is cancelled: it uses the state."""
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
            stop.set()
    if cancelled is not None:
        raise cancelled
    return work.result()
