"""A batch on the emulator that fails in many ways, is killed, and goes on: the second half of `make demo`.

It makes the pictures of the README: docs/batch.svg is `display.svg`, and docs/gallery.jpg is `gallery.jpg`.
"""

from __future__ import annotations

import asyncio
import csv
import io
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attrs
from PIL import Image
from rich.console import Console

from aimlapi_images import ImageClient
from aimlapi_images.batch import BatchEnded, BatchEvent, BatchStarted, JobEnded, run_batch
from aimlapi_images.batch.display import Live, Tally, summary
from aimlapi_images.emulator import RunningEmulator
from aimlapi_images.gallery import write_gallery

THINGS = ("teapot", "lantern", "rocking chair", "rain coat", "bicycle", "globe", "violin", "sleeping fox")
PLACES = ("on a beach at dawn", "in a snowy forest", "on a rooftop at night", "in a blue studio", "by a quiet river")
FAULTS = {
    "rate_limited": 0.05,
    "server_error": 0.1,
    "content_policy": 0.03,
    "dropped_after": 0.06,
    "late_url": 0.1,
    "expired_url": 0.03,
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 2.0  # that the emulator takes per image
PAID_BEFORE_THE_KILL = 12
# Rich's own form loads a font from elsewhere.
SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg"><style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace;
font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}</style><defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}"
height="{terminal_height}"/></clipPath>{lines}</defs>{chrome}<g transform="translate({terminal_x}, {terminal_y})"
clip-path="url(#{unique_id}-clip-terminal)">{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g></svg>"""


def show_batch(running: RunningEmulator, folder: Path) -> None:
    """Run a batch as a command, kill it, run it again, and settle what is unknown."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    jobs, out = folder / "products.csv", folder / "images"
    write_jobs(jobs)
    print(f"\nA batch of {len(THINGS) * len(PLACES)} jobs, of which every third meets a fault:\n", flush=True)
    running.reset(latency=SECONDS, retry_after=1.0, faults=FAULTS, seed=7)
    batch = ("batch", str(jobs), "--out", str(out), "--quality", "low")

    with start(running, *batch) as first:
        while running.billed < PAID_BEFORE_THE_KILL and first.poll() is None:
            time.sleep(0.05)
        first.kill()
    print(f"\n  Killed with `kill -9` after {running.billed} images were paid for. The same command goes on:\n")
    run(running, *batch)
    print("\n  What may have been billed is looked up in the provider's log, and the rest is made:\n")
    run(running, "reconcile", str(out), "--grace", "0")
    print()
    running.configure(faults={})
    run(running, *batch, "--retry-refused", "--retry-lost")
    print(f"\n  The API billed {running.billed} orders; the state of the batch lists each of them.")


def show_display(running: RunningEmulator, folder: Path) -> None:
    """Run the same batch from Python, and draw what the terminal shows half-way and at the end, and its gallery."""
    running.reset(latency=SECONDS, retry_after=4.0, faults={"rate_limited": 0.05, "content_policy": 0.03}, seed=3)
    console = Console(record=True, width=100, file=io.StringIO(), color_system="truecolor")
    asyncio.run(run_and_draw(running, folder, console))
    console.save_svg(str(folder / "display.svg"), title="aimlapi-images batch", code_format=SVG)
    print(f"\nWhat such a batch looks like in a terminal: {folder / 'display.svg'}")
    page = write_gallery(folder / "display")
    print(f"Its gallery: {page}")
    if browser := next(filter(None, map(shutil.which, BROWSERS)), None):
        take_picture(browser, page, folder / "gallery.jpg")
        print(f"What a browser shows of it: {folder / 'gallery.jpg'}")


async def run_and_draw(running: RunningEmulator, folder: Path, console: Console) -> None:
    command = "aimlapi-images batch products.csv --out images --budget-usd 2"
    async with ImageClient(api_key="emulator", base_url=running.base_url) as client:
        live = Live(tally := Tally(client, budget_usd=2.0), console)

        def show(event: BatchEvent) -> None:
            live(attrs.evolve(event, out="images") if isinstance(event, BatchStarted) else event)
            if isinstance(event, JobEnded) and tally.total == tally.todo // 2:
                console.print(live.render())
            if isinstance(event, BatchEnded):
                console.print()
                for line in summary(event, "images", command):
                    console.print(line, markup=False, highlight=False)

        console.print(f"[bold green]$[/] {command}", highlight=False)
        sizes = itertools.cycle(("1024x1024", "1536x1024", "1024x1536"))
        jobs = [{"id": row["id"], "prompt": row["prompt"], "size": next(sizes), "quality": "low"} for row in rows()]
        async for _ in run_batch(client, jobs, out=folder / "display", progress=show):
            pass


def take_picture(browser: str, page: Path, to: Path, *, width: int = 1280, height: int = 940) -> None:
    """Write what Chromium shows of a page as a JPEG."""
    with tempfile.TemporaryDirectory() as scratch:
        shot = Path(scratch) / "page.png"
        switches = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000")
        command = [browser, *switches, f"--user-data-dir={scratch}/home", f"--window-size={width},{height}"]
        command += [f"--screenshot={shot}", page.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with Image.open(shot) as image:
            image.convert("RGB").save(to, quality=80, optimize=True)


def rows() -> list[dict[str, str]]:
    return [
        {"id": f"{thing} {number}".replace(" ", "-"), "prompt": f"A {thing} {place}", "shelf": f"{number}"}
        for number, place in enumerate(PLACES, start=1)
        for thing in THINGS
    ]


def write_jobs(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("id", "prompt", "shelf"))
        writer.writeheader()
        writer.writerows(rows())


def start(running: RunningEmulator, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the command `aimlapi-images`, and print its command line."""
    print("$ aimlapi-images", *arguments, flush=True)
    environment = {**os.environ, "AIMLAPI_API_KEY": "emulator", "AIMLAPI_API_BASE": running.base_url}
    return subprocess.Popen([sys.executable, "-m", "aimlapi_images", *arguments], env=environment)


def run(running: RunningEmulator, *arguments: str) -> None:
    with start(running, *arguments) as process:
        process.wait()
