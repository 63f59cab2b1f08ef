"""The package as a whole: cost of imports, agreement with the schema, order of the source."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aimlapi_images import EditOptions, GenerateOptions, ImageClient
from aimlapi_images.orders import order as orders
from aimlapi_images.orders import schema
from conftest import ROOT
from schema_tools.facade import NO_FIELDS, follow_up

EXTRAS = ("aiohttp", "click", "PIL", "starlette", "uvicorn", "rich", "typer")


def python(code: str) -> str:
    """Run code in a process of its own, with warnings as errors. Returns its output."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(code: str) -> set[str]:
    """The names of the modules that are loaded after some code has run."""
    return set(python(f"import sys\n{code}\nprint(*sys.modules)").split())


def test_an_import_loads_no_package_of_an_extra() -> None:
    # httpx itself loads click and rich if they are installed.
    ours = loaded_by("import aimlapi_images.client, aimlapi_images.errors") - loaded_by("import httpx")

    assert "aimlapi_images.client" in ours
    assert [name for name in ours if name.partition(".")[0] in EXTRAS] == []
    assert not {"jsonschema", "imagesize"} & ours


def test_importing_the_package_alone_loads_only_what_loads_the_rest() -> None:
    ours = loaded_by("import aimlapi_images") - loaded_by("import __future__, importlib, typing")

    assert ours == {"aimlapi_images", "aimlapi_images.about"}


def test_the_commands_help_does_not_load_the_http_client() -> None:
    loaded = python(
        "import sys\nfrom aimlapi_images.cli import main\n"
        "try:\n    main(['generate', '--help'])\nexcept SystemExit:\n    print(*sys.modules)"
    ).split()

    assert "aimlapi_images.cli" in loaded
    assert not {"httpx", "aimlapi_rest", "PIL", "starlette", "jsonschema"} & set(loaded)


def test_an_import_opens_no_connection_no_event_loop_and_no_file() -> None:
    watched = """
import os, sys
events = []
sys.addaudithook(lambda event, arguments: events.append(event) if event.startswith("socket.") else None)
before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
import aimlapi_images, aimlapi_images.client, aimlapi_images.emulator, aimlapi_images.cli
import asyncio
after = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
made = [event for event in events if event not in ("socket.__new__", "socket.bind", "socket.gethostname")]
assert not made, made
assert len(after) == len(before), (before, after)
try:
    asyncio.get_running_loop()
except RuntimeError:
    print("quiet")
"""
    assert python(watched) == "quiet\n"


def test_the_map_of_the_source_names_files_that_exist() -> None:
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    _, _, source_map = contributing.partition("## Where is ...?")
    names = re.findall(r"`([\w./]+/[\w.]*)`", source_map.partition("\n## ")[0])
    folders = (ROOT, ROOT / "src" / "aimlapi_images")

    assert len(names) > 20
    assert [name for name in names if not any((folder / name).exists() for folder in folders)] == []


def test_the_facade_follows_the_schema() -> None:
    """The one test that fails after the schema has changed, until what it lists is done by hand."""
    assert follow_up(ROOT, ROOT / "generated" / "aimlapi_rest") == []


@pytest.mark.parametrize(
    ("method", "options"), [(ImageClient.generate, GenerateOptions), (ImageClient.edit, EditOptions)]
)
def test_the_typed_options_are_the_keyword_arguments(method: Any, options: Any) -> None:
    arguments = {
        name: each.annotation
        for name, each in inspect.signature(method).parameters.items()
        if each.kind is each.KEYWORD_ONLY
    }
    arguments.pop("image", None)

    assert {name: each.__forward_arg__ for name, each in inspect.get_annotations(options).items()} == arguments


def test_edit_has_an_argument_for_every_field_of_its_schema() -> None:
    arguments = set(inspect.signature(ImageClient.edit).parameters) - {"image", "mask"} - set(NO_FIELDS)
    fields = set(schema.request("edits")["properties"])

    assert arguments == fields - {"n"}, f"ImageClient.edit and the schema differ in {arguments ^ (fields - {'n'})}"


def test_default_values_match_the_schema() -> None:
    default = inspect.signature(ImageClient.generate).parameters["model"].default
    fields = schema.request("generations")["properties"]

    assert default in schema.models("generations")
    assert fields["output_format"]["x-api-default"] == orders._DEFAULT_FORMAT


def test_modules_and_folders_stay_small() -> None:
    package = ROOT / "src" / "aimlapi_images"
    sizes = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in package.rglob("*.py")}
    longer = {"client.py": 370}  # its docstrings are the reference of the public interface
    folders = [folder for folder in (package, *package.iterdir()) if folder.is_dir() and folder.name != "emulator"]

    assert {name: lines for name, lines in sizes.items() if lines > longer.get(name, 260)} == {}
    assert {folder.name: n for folder in folders if (n := len(list(folder.glob("*.py")))) > 10} == {}


ROOMS = [
    {"cli", "emulator", "__init__", "__main__"},
    {"gallery"},
    {"batch"},
    {"client", "options"},
    {"dispatch"},
    {"api"},
    {"orders"},
    {"events"},
    {"models"},
    {"media"},
    {"about", "errors", "config", "threads"},
]


def test_imports_run_one_way() -> None:
    """From the client down to the leaves. Imports for type checkers only do not count."""
    package = ROOT / "src" / "aimlapi_images"
    height = {room: -number for number, rooms in enumerate(ROOMS) for room in rooms}
    upwards = [
        (path.relative_to(package).as_posix(), target)
        for path in package.rglob("*.py")
        for target in _imported_rooms(path)
        if height[target] > height[path.relative_to(package).parts[0].removesuffix(".py")]
    ]

    assert upwards == []


def _imported_rooms(path: Path) -> Iterator[str]:
    """The rooms of this package that a module imports from."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = [
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in ast.walk(node)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in typing_only:
            names = (node.module or "").split(".")
            if names[0] == "aimlapi_images":
                yield from [names[1]] if len(names) > 1 else (alias.name for alias in node.names)
