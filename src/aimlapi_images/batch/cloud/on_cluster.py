"""`run_batch_on`: a batch whose images a Dask cluster fetches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING, Any, cast

from aimlapi_images.batch.cloud.cluster import Cluster
from aimlapi_images.batch.models import JobResult
from aimlapi_images.batch.reading.jobs import Source
from aimlapi_images.batch.runner import run_batch
from aimlapi_images.client import ImageClient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from distributed import Client


async def run_batch_on(
    dask_client: str | Client,
    jobs: Source | None,
    *,
    out: str,
    client: ImageClient | None = None,
    **options: Any,
) -> AsyncIterator[JobResult]:
    """Make an image for each job, as `run_batch` does, while the workers of a Dask cluster fetch and write the images.

    This process alone sends the orders, so that limits and budget are for the whole run, the key stays here, and a
    worker that dies costs nothing: fetching an image again is free.

    Args:
        dask_client: A `distributed.Client`, or the address of its scheduler.
        jobs: As of `run_batch`.
        out: A URL that workers can write to, such as `s3://bucket/folder`.
        client: Sends the orders; one from the environment if `None`.
        **options: Those of `run_batch`.

    Yields:
        A result for each job that was carried out.

    Raises:
        BatchError: No scheduler answers, or as `run_batch`.
        ImageError: As `run_batch`.
    """
    async with (
        Cluster(dask_client) as cluster,
        ImageClient() if client is None else nullcontext(client) as sender,
        aclosing(
            cast("AsyncGenerator[JobResult, None]", run_batch(sender, jobs, out=out, cluster=cluster, **options))
        ) as results,
    ):
        async for result in results:
            yield result
