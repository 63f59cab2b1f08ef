"""The pytest plugin, in processes of its own, as a user's suite has it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from conftest import ROOT

SETTINGS = ("-W", "error", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto")
LOOP = ("-o", "asyncio_default_fixture_loop_scope=function")


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder with the entry point of pyproject.toml, as an installed package has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (entry,) = project["entry-points"]["pytest11"].items()
    installed = tmp_path / "installed" / "aimlapi_images_plugin-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: aimlapi-images-plugin\nVersion: 0\n")
    (installed / "entry_points.txt").write_text("[pytest11]\n{} = {}\n".format(*entry))
    return installed.parent


def run(folder: Path, plugin: Path, *arguments: str) -> str:
    """Run the tests of a folder. Returns what pytest printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "AIML"))}
    environment["PYTHONPATH"] = os.pathsep.join([str(plugin), environment.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *SETTINGS, *LOOP, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def examples() -> list[str]:
    """The test files in the guide."""
    guide = (ROOT / "docs/emulator.md").read_text(encoding="utf-8")
    return [block for block in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "def test_" in block]


def test_the_test_files_in_the_guide_pass(tmp_path: Path, plugin: Path) -> None:
    folder = tmp_path / "suite"
    folder.mkdir()
    for number, text in enumerate(examples()):
        (folder / f"test_{number}.py").write_text(text, encoding="utf-8")

    assert re.search(r"\n2 passed in ", run(folder, plugin))


FRESH = """
import threading

async def test_one(aimlapi_emulator, aimlapi_client):
    aimlapi_emulator.fail("server_error", times=9)
    aimlapi_emulator.configure(balance=0.0)

async def test_two(aimlapi_emulator, aimlapi_client):
    image = await aimlapi_client.generate("A fox")
    assert (image.attempts, aimlapi_emulator.stats.received) == (1, 1)
    assert image.path is None

def test_no_loop_is_needed(aimlapi_emulator):
    assert aimlapi_emulator.billed == 0
"""

LEFT = """
import threading
import pytest

@pytest.hookimpl(trylast=True)
def pytest_unconfigure():
    print("threads:", [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()])
"""


def test_each_test_starts_afresh_and_nothing_is_left(tmp_path: Path, plugin: Path) -> None:
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "test_it.py").write_text(FRESH)
    (folder / "conftest.py").write_text(LEFT)

    shown = run(folder, plugin)

    assert re.search(r"\n3 passed in ", shown), shown
    assert "threads: []" in shown


def test_nothing_is_imported_until_a_fixture_is_used(tmp_path: Path, plugin: Path) -> None:
    folder = tmp_path / "suite"
    folder.mkdir()
    heavy = ("httpx", "starlette", "uvicorn", "PIL", "attrs", "jsonschema", "aimlapi_rest")
    (folder / "test_it.py").write_text(
        f"import sys\ndef test_it():\n"
        f"    assert 'aimlapi_images.emulator.pytest_plugin' in sys.modules\n"
        f"    assert not {{*{heavy}}} & set(sys.modules)\n"
    )

    others = ("anyio", "schemathesis", "hypothesispytest", "pytest_httpx", "respx")
    shown = run(folder, plugin, *(argument for name in others for argument in ("-p", f"no:{name}")))

    assert re.search(r"\n1 passed in ", shown), shown
