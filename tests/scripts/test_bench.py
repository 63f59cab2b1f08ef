"""The benchmark measures what it says, for everybody who takes part."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from bench import plans, tables
from bench.chart import OURS, draw
from bench.child import measure
from bench.cluster import cluster_table
from bench.cluster_model import Run, simulated_rate
from bench.contestants import BATCH, CONTESTANTS
from bench.running import Cell, environment, server
from bench.running import measure as measure_cell
from bench.soak import tenths


@pytest.mark.parametrize("who", CONTESTANTS)
async def test_each_contestant_gets_whole_images_either_way(who: str) -> None:
    with server() as address:
        for path, save in [("b64-100000-2", True), ("url-100000-2", False)]:
            found = await measure(who, f"http://{address}/{path}", 4, 2, save=save)

            images, size = found["images"], found["bytes"]
            assert [images, size] == [4, 400_000]
            assert min(found["cpu_ms"], found["peak_mb"], found["rate"]) > 0
            assert found["lag_ms"] >= 0


async def test_a_batch_gets_the_same_images() -> None:
    with server() as address:
        found = await measure(BATCH, f"http://{address}/b64-20000-2", 4, 2, save=True)

    assert (found["images"], found["bytes"]) == (4, 80_000)


def test_a_cluster_is_measured_beside_a_batch_without_one() -> None:
    table = cluster_table(6, (1,))

    assert [row[0] for row in table.rows] == [
        "no cluster, to a folder",
        "no cluster, to a bucket",
        "1 worker, to a bucket",
    ]
    assert [row[4] == "0.0 ms" for row in table.rows] == [True, True, False]


def test_a_cell_is_measured_in_processes_of_its_own() -> None:
    cell = Cell("one", "limited-bucket-0-0", 1, 1, False, ["raw socket"], 1)
    with server() as address:
        found = measure_cell(cell, address)

    assert found["raw socket"]["images"] == 1


def test_a_plan_lets_everybody_through() -> None:
    # The server waits for as many as are to be in flight: the last ones must not be fewer.
    cells = [cell for quick in (True, False) for cell in plans.image_cells(quick)]

    assert [cell.label for cell in cells if cell.orders % cell.in_flight] == []
    assert all(who in CONTESTANTS for cell in cells for who in cell.who)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
async def test_memory_is_told_for_each_tenth() -> None:
    with server() as address:
        found = await tenths("raw socket", f"http://{address}/b64-20000-1", 200)

    assert len(found) == 10
    assert max(found) - min(found) < 10


def test_tables_are_written_for_terminals_and_pages() -> None:
    table = tables.Table("A title", ("", "ratio"), [("ours", tables.ratio(1, 4)), ("nobody", tables.ratio(1, 0))])

    assert tables.plain(table) == "A title\n          ratio\n  ours     0.25\n  nobody      -"
    assert tables.markdown(table) == "**A title**\n\n|  | ratio |\n| --- | ---: |\n| ours | 0.25 |\n| nobody | - |"


def test_the_chart_is_a_picture(tmp_path: Path) -> None:
    figures = {"ours": {"cpu_ms": 5.0, "peak_mb": 50.0}, "openai": {"cpu_ms": 20.0, "peak_mb": 90.0}}
    draw(tmp_path / "bars.png", [("b64", figures)])

    with Image.open(tmp_path / "bars.png") as picture:
        green = Image.new("RGB", (1, 1), OURS).getpixel((0, 0))
        assert picture.width == 960
        assert green in [color for _, color in picture.getcolors(2**20) or []]


def test_the_benchmark_says_what_it_does() -> None:
    command = [sys.executable, "-m", "bench", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())

    assert "as ratios to peers in the same run" in done.stdout


@pytest.mark.parametrize(("run", "wall"), [(Run(1, 16, 1), "open requests"), (Run(1, 5000, 2), "the workers")])
def test_a_simulated_batch_nearly_reaches_its_wall(run: Run, wall: str) -> None:
    name, rate = run.wall()

    assert name == wall
    assert 0.9 * rate < simulated_rate(run, 10_000) < 1.1 * rate
