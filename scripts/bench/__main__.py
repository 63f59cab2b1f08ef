"""CPU time, memory and loop lag, as ratios to peers in the same run: `make bench`, or `make bench-quick`.

Each measurement runs in its own process, all contestants in turn; the tables show medians. Ratios below 1 are in our
favor. CPU time is that of the whole process, including threads. The server is another process, and answers only once
the stated number of requests is open. Machines differ and are noisy: compare the ratios of one run only.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import httpx

from bench import plans, tables
from bench.running import Cell, Figures, measure, measure_once, server, start_times
from bench.tables import Table, ratio

COLUMNS = (
    "",
    "CPU per image",
    "to openai",
    "to the floor",
    "images per second",
    "peak memory",
    "to openai",
    "loop lag",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="take under a minute, and be less exact")
    parser.add_argument("--only", metavar="TEXT", default="", help="only situations whose name contains this text")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the tables to this file as Markdown")
    parser.add_argument("--chart", metavar="FILE", type=Path, help="draw the first situation to this PNG file")
    options = parser.parse_args()

    started = time.monotonic()
    results: list[tuple[str, dict[str, Figures]]] = []
    found = []
    for table in every_table(options.quick, options.only, results):
        print(tables.plain(table), end="\n\n", flush=True)
        found.append(tables.markdown(table))
    machine = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    print(f"{machine}; {time.monotonic() - started:.0f} s in all")
    if options.markdown:
        options.markdown.write_text("\n\n".join([*found, machine]) + "\n", encoding="utf-8")
    if options.chart and results:
        from bench.chart import draw

        draw(options.chart, results[:1])


def every_table(quick: bool, only: str, results: list[tuple[str, dict[str, Figures]]]) -> Iterator[Table]:
    """Measure, and yield each table when it is done. Also append the figures of images to `results`."""
    with server() as address:
        if only in "starts":
            yield starts_table(3 if quick else 7, address)
        for cell in plans.image_cells(quick):
            if only in cell.label:
                results.append((cell.label, measure(cell, address)))
                yield image_table(cell.label, results[-1][1])
        for cell in plans.gather_cells(quick):
            if only in cell.label:
                yield image_table(cell.label, measure(cell, address))
        for cell in plans.batch_cells(quick):
            if only in cell.label:
                yield batch_table(cell.label, measure(cell, address))
        for cell, shortest in plans.limited_cells(quick):
            if only in cell.label:
                yield limited_table(cell, shortest, address)


def starts_table(rounds: int, address: str) -> Table:
    """The start-up times of short programs."""
    seconds = start_times({name: code.replace("ADDRESS", address) for name, code in plans.STARTS.items()}, rounds)
    rows = [
        (label, f"{1000 * seconds[ours]:.0f} ms", f"{1000 * seconds[peer]:.0f} ms", ratio(seconds[ours], seconds[peer]))
        for label, ours, peer in plans.START_RATIOS
    ]
    return Table("Start-up, including Python", ("", "ours", "peer", "ratio"), rows)


def image_table(label: str, found: dict[str, Figures]) -> Table:
    """One situation, with a row for each contestant."""
    peer, floor = found.get("openai", {}), found.get("raw socket", {})
    rows = [
        (
            who,
            f"{each['cpu_ms']:.2f} ms",
            ratio(each["cpu_ms"], peer.get("cpu_ms", 0)),
            ratio(each["cpu_ms"], floor.get("cpu_ms", 0)),
            f"{each['rate']:.0f}",
            f"{each['peak_mb']:.0f} MB",
            ratio(each["peak_mb"], peer.get("peak_mb", 0)),
            f"{each['lag_ms']:.0f} ms",
        )
        for who, each in found.items()
    ]
    return Table(label, COLUMNS, rows)


def batch_table(label: str, found: dict[str, Figures]) -> Table:
    """Orders with `asyncio.gather`, and the same as a batch."""
    plain = found.get("ours", {})
    rows = [
        (
            who if who != "ours" else "ours, asyncio.gather",
            f"{each['cpu_ms']:.2f} ms",
            ratio(each["cpu_ms"], plain.get("cpu_ms", 0)),
            f"{each['rate']:.0f}",
            f"{each['peak_mb']:.0f} MB",
        )
        for who, each in found.items()
    ]
    return Table(label, ("", "CPU per image", "to asyncio.gather", "images per second", "peak memory"), rows)


def limited_table(cell: Cell, shortest: float, address: str) -> Table:
    """More orders than the server admits: how many were lost, and the server's count of refusals and seconds."""
    rows = []
    for who in cell.who:
        found, reports = [], []
        for number in range(cell.rounds):
            httpx.get(f"http://{address}/report", trust_env=False)
            found += measure_once(cell._replace(path=f"{cell.path}-{number}"), who, address)
            reports.append(httpx.get(f"http://{address}/report", trust_env=False).json())
        lost = cell.orders * cell.clients - sum(each["images"] for each in found) / cell.rounds
        refused, seconds = (fmean(each[key] for each in reports) for key in ("refused", "seconds"))
        cpu = sum(each["cpu_ms"] for each in found) / cell.clients / cell.rounds
        rows.append((who, f"{lost:.0f}", f"{refused:.0f}", ratio(seconds, shortest), f"{cpu:.2f} ms"))
    return Table(cell.label, ("", "lost", "refusals", "time to the ideal", "CPU per order"), rows)


if __name__ == "__main__":
    main()
