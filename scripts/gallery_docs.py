"""Make docs/gallery.jpg and the outputs of examples/batch.ipynb again. Needs Chromium. See CONTRIBUTING.md."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

from aimlapi_images import ImageClient, RetryPolicy, emulator
from aimlapi_images.batch import BatchEvent, JobEnded, run_batch
from aimlapi_images.gallery import write_gallery

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "gallery.jpg"
NOTEBOOK = ROOT / "examples" / "batch.ipynb"
PROMPTS = (
    "A lighthouse at dawn, mist over the sea",
    "A market street in the rain, paper lanterns",
    "An orchard in late autumn",
    "A night train crossing a viaduct",
    "A paper boat on a quiet lake",
    "A T-Rex relaxing on a beach",
    "A glass greenhouse full of ferns",
    "Snow on a pass, seen from a hut",
)
FAILING = {1: "content_policy", 6: "dropped_after", 9: "content_policy", 13: "server_error"}  # after so many jobs


async def make_batch(out: Path) -> None:
    """24 jobs, some of which fail."""
    kinds = itertools.cycle(itertools.product(("1024x1024", "1536x1024", "1024x1536"), ("low", "high")))
    jobs = [
        {"id": f"{number:02}-{prompt.split()[1].lower()}", "prompt": prompt, "size": size, "quality": quality}
        for number, (prompt, (size, quality)) in enumerate(zip(PROMPTS * 3, kinds, strict=False), 1)
    ]
    ended = 0

    def progress(event: BatchEvent) -> None:
        nonlocal ended
        if isinstance(event, JobEnded):
            ended += 1
            if ended in FAILING:
                running.fail(FAILING[ended])

    with emulator.serve(latency=26.0, time_scale=50.0) as running:
        settings: dict[str, Any] = {"max_concurrency": 1, "retry": RetryPolicy(attempts=1)}
        async with ImageClient("any-key", base_url=running.base_url, **settings) as client:
            async for _ in run_batch(client, jobs, out=out, progress=progress):
                pass


def take_picture(page: Path, to: Path, *, width: int = 1280, height: int = 940) -> None:
    """Write what Chromium shows of a page as a JPEG."""
    with tempfile.TemporaryDirectory() as scratch:
        shot = Path(scratch) / "page.png"
        switches = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000")
        command = [shutil.which("chromium") or "chromium", *switches, f"--user-data-dir={scratch}/home"]
        command += [f"--window-size={width},{height}", f"--screenshot={shot}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with Image.open(shot) as image:
            image.convert("RGB").save(to, quality=80, optimize=True)


def run_notebook(path: Path) -> None:
    """Execute a notebook, and keep its outputs in it."""
    notebook = nbformat.read(path, 4)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=120, resources={"metadata": {"path": folder}}).execute()
    for cell in notebook.cells:
        cell.metadata.clear()  # times
        lines = [output for output in cell.get("outputs", ()) if output.output_type == "stream"]
        for line in lines[:-1]:
            cell.outputs.remove(line)  # of a bar, what it showed before
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]


def main() -> None:
    os.environ["NO_PROXY"] = "127.0.0.1"
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "landscapes"
        asyncio.run(make_batch(out))
        take_picture(write_gallery(out), PICTURE)
    run_notebook(NOTEBOOK)
    for path in (PICTURE, NOTEBOOK):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
