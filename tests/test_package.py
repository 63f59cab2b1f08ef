"""The package as a whole: what an import costs, what the README promises, and that the facade follows the schema."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from aimlapi_images import ImageClient
from aimlapi_images.orders import order as orders
from aimlapi_images.orders import schema
from conftest import KEY, ROOT

EXTRAS = ("aiohttp", "click", "PIL", "starlette", "uvicorn", "rich", "typer")


def python(code: str, *, cwd: Path | None = None, **environment: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(code: str) -> set[str]:
    return set(python(f"import sys\n{code}\nprint(*sys.modules)").split())


def test_an_import_loads_nothing_that_an_extra_brings() -> None:
    # httpx loads click and rich by itself, where it finds them.
    ours = loaded_by("import aimlapi_images.client, aimlapi_images.errors") - loaded_by("import httpx")

    assert "aimlapi_images.client" in ours
    assert [name for name in ours if name.partition(".")[0] in EXTRAS] == []
    assert not {"jsonschema", "imagesize"} & ours


def test_the_package_alone_loads_next_to_nothing() -> None:
    ours = loaded_by("import aimlapi_images") - loaded_by("import __future__, importlib, typing")

    assert ours == {"aimlapi_images"}


def test_the_commands_help_does_without_the_http_client() -> None:
    loaded = python(
        "import sys\nfrom aimlapi_images.cli import main\n"
        "try:\n    main(['generate', '--help'])\nexcept SystemExit:\n    print(*sys.modules)"
    ).split()

    assert "aimlapi_images.cli" in loaded
    assert not {"httpx", "aimlapi_rest", "PIL", "starlette", "jsonschema"} & set(loaded)


def test_an_import_touches_no_network_no_loop_and_leaves_no_file_open() -> None:
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


def examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_readmes_first_example_writes_its_image(emulator_url: str, tmp_path: Path) -> None:
    example = examples()[0]

    shown = python(example, cwd=tmp_path, AIMLAPI_API_KEY=KEY, AIMLAPI_API_BASE=emulator_url)

    assert shown == "trex.png\n"
    with Image.open(tmp_path / "trex.png") as image:
        assert image.size == (1536, 1024)
        image.load()


def test_the_readmes_low_level_example_works(emulator_url: str, tmp_path: Path) -> None:
    example = next(each for each in examples() if "AuthenticatedClient" in each)

    shown = python(example.replace("https://api.aimlapi.com", emulator_url), cwd=tmp_path, AIMLAPI_API_KEY=KEY)

    assert shown.startswith(f"{emulator_url}/generations/emulated/")


def test_generate_has_an_argument_for_every_field_of_the_schema() -> None:
    arguments = set(inspect.signature(ImageClient.generate).parameters) - {"self", "options", "to", "deadline", "order"}
    fields = set(schema.generation_request()["properties"])

    # `n` is always 1, and goes through `options`; the rest is to follow the schema by hand, in client.py.
    assert arguments == fields - {"n"}, f"ImageClient.generate and the schema differ in {arguments ^ (fields - {'n'})}"


def test_the_readmes_edits_work(emulator_url: str, tmp_path: Path) -> None:
    example = next(each for each in examples() if "mask_from_luminance" in each)
    for name in ("cat.png", "sofa.jpg"):
        Image.new("RGB", (90, 60), "orange").save(tmp_path / name)
    Image.linear_gradient("L").resize((90, 60)).save(tmp_path / "painted.png")
    steps = example.replace("\n", "\n        ")
    code = "import asyncio\nfrom aimlapi_images import ImageClient\nasync def main():\n"
    code += (
        f"    async with ImageClient() as client:\n        {steps}\n        print(boat.path, swap.width, room.height)\n"
    )

    shown = python(code + "asyncio.run(main())", cwd=tmp_path, AIMLAPI_API_KEY=KEY, AIMLAPI_API_BASE=emulator_url)

    assert shown == "boat.png 90 1024\n"


def test_edit_has_an_argument_for_every_field_of_the_schema() -> None:
    arguments = set(inspect.signature(ImageClient.edit).parameters)
    arguments -= {"self", "image", "mask", "options", "to", "deadline", "order"}
    fields = set(schema.edit_request()["properties"])

    assert arguments == fields - {"n"}, f"ImageClient.edit and the schema differ in {arguments ^ (fields - {'n'})}"


def test_the_defaults_are_the_schemas() -> None:
    default = inspect.signature(ImageClient.generate).parameters["model"].default
    fields = schema.generation_request()["properties"]

    assert default in schema.known_models()
    assert fields["output_format"]["x-api-default"] == orders._DEFAULT_FORMAT


def test_modules_stay_small_and_folders_short() -> None:
    """Docstrings are not counted: the client's are the reference of the public interface."""
    package = ROOT / "src" / "aimlapi_images"
    sizes = {path.name: _lines_of_code(path.read_text(encoding="utf-8")) for path in package.rglob("*.py")}
    folders = [folder for folder in (package, *package.iterdir()) if folder.is_dir() and folder.name != "emulator"]

    assert {name: lines for name, lines in sizes.items() if lines > 260} == {}
    assert {folder.name: n for folder in folders if (n := len(list(folder.glob("*.py")))) > 10} == {}


ROOMS = [
    {"cli", "emulator", "__init__"},
    {"client"},
    {"dispatch"},
    {"api"},
    {"orders"},
    {"events"},
    {"models"},
    {"media"},
    {"errors", "config", "threads"},
]


def test_imports_run_one_way() -> None:
    """From the client down to the leaves; what type checkers alone import does not count."""
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


def _lines_of_code(source: str) -> int:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    docs = [
        node.body[0] for node in ast.walk(ast.parse(source)) if isinstance(node, documented) and ast.get_docstring(node)
    ]
    return len(source.splitlines()) - sum((doc.end_lineno or doc.lineno) - doc.lineno + 1 for doc in docs)
