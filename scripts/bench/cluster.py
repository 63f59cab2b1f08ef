"""What a Dask cluster gives and costs, beside the plain batch: the second table of docs/cluster.md."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.cluster_model import PAGE
from bench.running import Figures, environment, server
from bench.tables import Table, markdown, plain, ratio

SIZE, DELAY, IN_FLIGHT, THREADS = 1_500_000, 0.2, 64, 4
TITLE: Final = f"{SIZE / 1e6:g} MB an image, an image host that takes {DELAY:g} s, {THREADS} threads a worker"
COLUMNS: Final = ("", "images a second", "to 1 worker", "CPU of this process", "of the workers", "both, to plain")


def measure(place: str, workers: int, address: str, orders: int) -> Figures:
    """One batch, in a process of its own. The scheduler runs in this one, and so costs the batch nothing."""
    base_url = f"http://{address}/url-{SIZE}-1-{DELAY}"
    with tempfile.TemporaryDirectory() as folder:
        if not workers:
            return _driver(base_url, place, folder, orders) | {"workers_ms": 0.0}
        from distributed import Client, LocalCluster

        with (
            LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=workers, threads_per_worker=THREADS, host="127.0.0.1", dashboard_address=None
            ) as cluster,
            Client(cluster) as client,  # type: ignore[no-untyped-call]
        ):
            before = sum(client.run(time.process_time).values())
            found = _driver(base_url, cluster.scheduler_address, folder, orders)
            spent = sum(client.run(time.process_time).values()) - before
            return found | {"workers_ms": 1000 * spent / orders}


def _driver(base_url: str, place: str, folder: str, orders: int) -> Figures:
    command = [sys.executable, "-m", "bench.cluster", base_url, place, folder, str(orders)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment())
    figures: Figures = json.loads(done.stdout)
    return figures


async def drive(base_url: str, place: str, folder: Path, orders: int) -> Figures:
    """Run one batch into a `folder`, into a `bucket`, or into a bucket with the cluster of a scheduler's address."""
    from aimlapi_images import ImageClient
    from aimlapi_images.batch import run_batch, run_batch_on

    jobs = ({"id": str(number), "prompt": f"number {number}"} for number in range(orders))
    bucket, state = (folder / "bucket").as_uri(), folder / "state"
    async with ImageClient("key", base_url=base_url, max_concurrency=IN_FLIGHT) as client:
        if place == "folder":
            results = run_batch(client, jobs, out=folder)
        elif place == "bucket":
            results = run_batch(client, jobs, out=bucket, state=state)
        else:
            results = run_batch_on(place, jobs, out=bucket, client=client, state=state)
        started, before = time.perf_counter(), time.process_time()
        done = [result async for result in results if result.status == "done"]
        wall, cpu = time.perf_counter() - started, time.process_time() - before
    if len(done) < orders:
        raise SystemExit(f"only {len(done)} of {orders} images arrived")
    return {"rate": orders / wall, "driver_ms": 1000 * cpu / orders}


def cluster_table(orders: int, workers: tuple[int, ...]) -> Table:
    """A batch without a cluster, and with one of some workers."""
    with server() as address:
        found = {f"no cluster, to a {place}": measure(place, 0, address, orders) for place in ("folder", "bucket")}
        for number in workers:
            name = f"{number} worker{'s' if number > 1 else ''}, to a bucket"
            found[name] = measure("bucket", number, address, orders)
    first, _, one, *_ = found.values()
    rows = [
        (
            name,
            f"{each['rate']:.1f}",
            ratio(each["rate"], one["rate"]),
            f"{each['driver_ms']:.1f} ms",
            f"{each['workers_ms']:.1f} ms",
            ratio(each["driver_ms"] + each["workers_ms"], first["driver_ms"]),
        )
        for name, each in found.items()
    ]
    return Table(TITLE, COLUMNS, rows)


def main() -> None:
    if arguments := sys.argv[1:]:
        base_url, place, folder, orders = arguments
        print(json.dumps(asyncio.run(drive(base_url, place, Path(folder), int(orders)))))
        return
    table = cluster_table(600, (1, 2, 4))
    print(plain(table))
    text = PAGE.read_text(encoding="utf-8")
    text = re.sub(r"\*\*[^*]+ an image, .*?\n(?=\n[^|])", lambda _: markdown(table) + "\n", text, flags=re.DOTALL)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
