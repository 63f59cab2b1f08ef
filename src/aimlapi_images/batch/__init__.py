"""Batches: thousands of jobs in, a folder of images out, each paid for once, whatever happens in between.

async for result in run_batch(client, read_jobs("jobs.csv"), out="images"):
    print(result.id, result.status, result.file)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aimlapi_images.about import loader

if TYPE_CHECKING:
    from aimlapi_images.batch.cloud.on_cluster import run_batch_on
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
    from aimlapi_images.batch.reading.jobs import Job, read_jobs
    from aimlapi_images.batch.reconciliation import Reconciled, reconcile
    from aimlapi_images.batch.results import export_results, read_results
    from aimlapi_images.batch.runner import run_batch

_HOMES = {
    "BatchEnded": ".models",
    "BatchEvent": ".models",
    "BatchStarted": ".models",
    "Job": ".reading.jobs",
    "JobEnded": ".models",
    "JobResult": ".models",
    "Notice": ".models",
    "Reconciled": ".reconciliation",
    "Status": ".models",
    "Throttled": ".models",
    "export_results": ".results",
    "read_jobs": ".reading.jobs",
    "read_results": ".results",
    "reconcile": ".reconciliation",
    "run_batch": ".runner",
    "run_batch_on": ".cloud.on_cluster",
}

__all__ = [
    "BatchEnded",
    "BatchEvent",
    "BatchStarted",
    "Job",
    "JobEnded",
    "JobResult",
    "Notice",
    "Reconciled",
    "Status",
    "Throttled",
    "export_results",
    "read_jobs",
    "read_results",
    "reconcile",
    "run_batch",
    "run_batch_on",
]

if not TYPE_CHECKING:  # a type checker would accept any name
    __getattr__ = loader(__name__, _HOMES)
