"""Every program in `examples/`, against an emulator."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from aimlapi_images.emulator import RunningEmulator
from conftest import KEY, ROOT

EXAMPLES = ROOT / "examples"


@pytest.fixture(autouse=True)
def _environment(fast_emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIMLAPI_API_KEY", KEY)
    monkeypatch.setenv("AIMLAPI_API_BASE", fast_emulator.base_url)
    monkeypatch.chdir(tmp_path)


def run(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str) -> None:
    """Run a program as `python NAME ARGUMENTS...` does."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


@asynccontextmanager
async def web_service() -> AsyncIterator[httpx.AsyncClient]:
    """A client of the FastAPI application."""
    app: Any = runpy.run_path(str(EXAMPLES / "fastapi_app.py"))["app"]
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as http,
    ):
        yield http


async def test_the_web_service_answers_with_an_image(fast_emulator: RunningEmulator) -> None:
    async with web_service() as http:
        answer = await http.get("/image", params={"prompt": "A fox"})

    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content.startswith(b"\x89PNG")
    assert answer.headers["x-order"]


@pytest.mark.parametrize(
    ("fault", "size", "status"),
    [
        (None, "1x1", 422),
        ("content_policy", "1024x1024", 400),
        ("free_tier", "1024x1024", 429),
        ("dropped_after", "1024x1024", 502),
    ],
)
async def test_the_web_service_translates_errors(
    fast_emulator: RunningEmulator, fault: str | None, size: str, status: int
) -> None:
    if fault:
        fast_emulator.fail(fault)
    async with web_service() as http:
        answer = await http.get("/image", params={"prompt": "A fox", "size": size})

    assert answer.status_code == status
    assert answer.json()["detail"]


def test_a_csv_of_products_becomes_a_folder(
    fast_emulator: RunningEmulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    for _ in range(2):  # the second run has nothing left to do
        run(monkeypatch, "products.py", str(EXAMPLES / "products.csv"), "pictures")

    assert sorted(path.name for path in tmp_path.glob("pictures/**/*.png")) == ["B-330.png", "L-210.png", "M-100.png"]
    assert fast_emulator.billed == 3
    assert '"price": "89.00"' in (tmp_path / "pictures" / "results.jsonl").read_text(encoding="utf-8")
    assert "0.03 USD" in capsys.readouterr().out


def test_a_product_photo_keeps_the_product(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    photo = Image.new("RGB", (300, 200), "gray")
    photo.paste("crimson", (100, 50, 200, 150))
    photo.save("photo.png")

    run(monkeypatch, "product_photo.py", "photo.png", "100,50,100,100", "on a marble table")

    with Image.open(tmp_path / "photo-new.png") as image:
        middle, corner = (image.convert("RGB").getpixel(at) for at in ((image.width // 2, image.height // 2), (5, 5)))
    assert middle == (220, 20, 60)
    assert corner != (128, 128, 128)


def test_the_test_suite_with_faults_passes(tmp_path: Path) -> None:
    suite = shutil.copytree(EXAMPLES / "testing", tmp_path / "suite")
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # those of this project take seconds to load
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "aimlapi_images.emulator.pytest_plugin"]

    done = subprocess.run(command, cwd=suite, env=environment, capture_output=True, text=True)

    assert re.search(r"\b4 passed in ", done.stdout), done.stdout + done.stderr


def test_the_list_of_examples_is_complete() -> None:
    listed = set(re.findall(r"\]\(([^)]+)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8")))
    programs = {path.name for path in EXAMPLES.iterdir() if path.suffix in ("", ".py", ".ipynb")} - {"__pycache__"}

    assert programs == listed
