"""README and guides: every example and command runs, every link leads somewhere, every promise has a test."""

from __future__ import annotations

import ast
import asyncio
import inspect
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

import aimlapi_images
from aimlapi_images import ImageClient, cli, errors
from aimlapi_images.emulator import RunningEmulator
from conftest import KEY, PIXEL_ANSWER, ROOT
from guides import PAGES, README, Block, block, blocks

CLUSTER = "docs/cluster.md"  # tests/cloud/test_cluster.py runs its blocks
# Scripts and other text, and what tests them.
NOT_EXECUTED = {
    "docs/cli.md": "test_the_synopsis_of_the_command_is_complete",
    "docs/emulator.md": "nothing: it needs other package registries",
    "docs/errors.md": "test_the_guide_to_errors_has_the_tree",
    "docs/schema.md": "tests/scripts/test_update.py",
}
# Beginnings of lines in blocks of commands that are shown, but not run here.
NOT_RUN = (
    "pip ",  # tried by scripts/try_wheel.py
    "export ",
    "make ",  # tests/scripts run what it calls
    "aimlapi-images emulator ",  # a server: tests/emulator/test_command.py starts it
)
# Public types that the reference shows only where they are used.
TYPES = {"EditOptions", "GenerateOptions", "ImageInput", "Observer", *aimlapi_images._VALUES}


@pytest.fixture
def folder(fast_emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The working directory of an example, with the files and the environment that examples use."""
    for name in ("cat.png", "sofa.jpg"):
        Image.new("RGB", (90, 60), "orange").save(tmp_path / name)
    Image.linear_gradient("L").resize((90, 60)).save(tmp_path / "painted.png")
    aimlapi_images.mask_from_luminance(tmp_path / "painted.png").save(tmp_path / "mask.png")
    (tmp_path / "jobs.csv").write_text("id,prompt\nfox,a fox\nowl,an owl\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIMLAPI_API_KEY", KEY)
    monkeypatch.setenv("AIMLAPI_API_BASE", fast_emulator.base_url)
    yield tmp_path
    logging.getLogger("aimlapi_images").setLevel(logging.NOTSET)


@asynccontextmanager
async def client_for(code: str) -> AsyncIterator[ImageClient]:
    """The `client` of an example. The emulator has only the models whose schemas are stored."""
    other = httpx.MockTransport(lambda _: httpx.Response(200, json={"data": PIXEL_ANSWER["data"] * 2}))
    async with ImageClient(transport=other if "flux/" in code else None) as client:
        yield client


async def run(code: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Run an example as the README says, inside `async with ImageClient() as client`, and the tests that it defines.

    Returns its names.
    """
    code = code.replace("https://api.aimlapi.com", os.environ["AIMLAPI_API_BASE"])
    compiled = compile(code, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, Any] = {"asyncio": asyncio, "prompts": ["a fox", "an owl"]}
    names |= {name: getattr(aimlapi_images, name) for name in ("ImageClient", "GenerateOptions", "EditOptions")}
    if "asyncio.run(" in code:
        await asyncio.to_thread(exec, compiled, names)
        return names
    async with client_for(code) as names["client"]:
        if compiled.co_flags & inspect.CO_COROUTINE:
            await eval(compiled, names)  # noqa: S307
        else:
            exec(compiled, names)  # noqa: S102
    for name in [name for name in names if name.startswith("test_")]:
        await names[name](*(request.getfixturevalue(each) for each in inspect.signature(names[name]).parameters))
    return names


@pytest.mark.parametrize("example", [each for each in blocks("python") if each.page != CLUSTER], ids=str)
async def test_every_example_in_the_docs_runs(example: Block, folder: Path, request: pytest.FixtureRequest) -> None:
    await run(example.text, request)


def test_the_readmes_first_example_writes_its_image(folder: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", blocks("python")[0].text]

    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert shown == "trex.png\n"
    with Image.open(folder / "trex.png") as image:
        assert image.size == (1536, 1024)
        image.load()


async def test_the_low_level_example_prints_a_url(
    folder: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    await run(block("AuthenticatedClient").text, request)

    assert capsys.readouterr().out.startswith(f"{os.environ['AIMLAPI_API_BASE']}/generations/emulated/")


async def test_the_readmes_edits_return_images_of_the_expected_size(
    folder: Path, request: pytest.FixtureRequest
) -> None:
    made = await run(block("day and night").text, request)

    assert (str(made["boat"].path), made["boat"].width, made["both"].height) == ("boat.png", 1536, 1024)


async def test_the_readmes_gather_returns_images(folder: Path, request: pytest.FixtureRequest) -> None:
    made = await run(block('to=f"image-{number:04}"').text, request)

    assert [str(image.path) for image in made["results"]] == ["image-0000.png", "image-0001.png"]


async def test_the_guides_budget_is_kept(folder: Path, request: pytest.FixtureRequest) -> None:
    made = await run(block("BudgetExceededError").text, request)

    assert made["thrifty"].spending.orders == 2


def commands() -> dict[str, list[str]]:
    """For each page, the lines of its blocks without a language: commands."""
    lines: dict[str, list[str]] = {}
    for each in blocks(""):
        if each.page != CLUSTER:
            lines.setdefault(each.page, []).extend(each.text.splitlines())
    return {page: runnable for page, given in lines.items() if (runnable := [line for line in given if is_run(line)])}


def is_run(line: str) -> bool:
    return not line.startswith(NOT_RUN)


@pytest.mark.parametrize("page", sorted(commands()))
def test_every_command_in_the_docs_runs(page: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for line in commands()[page]:
        if set("|>") & set(line.partition("#")[0]):
            assert in_a_shell(line) == "", line
        else:
            with pytest.raises(SystemExit) as ended:
                cli.main(shlex.split(line, comments=True)[1:])
            assert ended.value.code == 0, f"{line}\n{capfd.readouterr()}"


def in_a_shell(line: str) -> str:
    """Run a pipeline with the command of this environment. Returns what went wrong."""
    if not shutil.which("jq"):
        line = line.partition("| jq")[0]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    return f"exit code {done.returncode}: {done.stderr}" if done.returncode else ""


def test_every_block_in_the_docs_is_of_a_known_kind() -> None:
    """Python and commands (blocks without a language) run."""
    assert {each.page for each in blocks() if each.language not in ("python", "")} == NOT_EXECUTED.keys()
    assert {each.language for each in blocks()} == {"python", "", "bash", "text"}
    assert [line for lines in commands().values() for line in lines if "aimlapi-images" not in line] == []


def test_the_synopsis_of_the_command_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    (synopsis,) = blocks("text")[:1]
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    listed = re.findall(r"^│? +([a-z]+)  ", capsys.readouterr().out, re.MULTILINE)

    assert synopsis.page == "docs/cli.md"
    assert set(re.findall(r"aimlapi-images ([a-z]+)", synopsis.text)) == set(listed) != set()


def test_links_in_the_docs_lead_to_files() -> None:
    pages = (*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md")
    links = [
        (page, target)
        for page in pages
        for target in re.findall(r"(?:\]\(|src=\")([^)\"#]+)", page.read_text(encoding="utf-8"))
        if ":" not in target
    ]

    assert links
    assert [link for link in links if not (link[0].parent / link[1]).exists()] == []


def test_the_site_builds_without_a_warning_and_without_other_hosts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]

    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    pages = {page.stem: page.read_text(encoding="utf-8") for page in tmp_path.glob("*.html")}
    assert {path.stem for path in PAGES[1:]} <= pages.keys()
    described = set(re.findall(r'id="aimlapi_images(?:\.\w+)*\.(\w+)"', pages["reference"]))
    assert set(aimlapi_images.__all__) - described - TYPES == set()
    loaded = r"<(?:script|img|link|iframe)\b[^>]*(?:src|href)=\"?(https?:[^\s\">]+)"
    assert [found for page in pages.values() for found in re.findall(loaded, page)] == []


def test_the_guide_to_errors_has_the_tree() -> None:
    tree = inspect.cleandoc((errors.__doc__ or "").partition("\n\n")[2])

    assert tree in (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")


def test_the_readme_stays_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150
