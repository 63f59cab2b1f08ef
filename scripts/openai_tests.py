"""Run the OpenAI SDK's own tests of images against the emulator, with inputs that are valid for this model.

    python scripts/openai_tests.py

The tests come from the source package of the installed version, which pip downloads. Their inputs are invented, and the
emulator would refuse them: here they get a model and images, and no fields that the model lacks. Tests of streams and
variations are left out, as this API has neither.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from aimlapi_images import emulator
from aimlapi_images.orders import schema


def main() -> int:
    """Returns the exit code of pytest."""
    with tempfile.TemporaryDirectory() as folder, emulator.serve(drawing="plain") as running:
        package = _unpacked(f"openai=={version('openai')}", Path(folder))
        tests = package / "tests" / "api_resources" / "test_images.py"
        tests.write_text(_valid(tests.read_text(encoding="utf-8")), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", str(tests), "-k", "overload_1"]
        settings = {"TEST_API_BASE_URL": f"{running.base_url}/v1", "NO_PROXY": "127.0.0.1"}
        return subprocess.run(command, cwd=package, env={**os.environ, **settings}, check=False).returncode


def _unpacked(requirement: str, folder: Path) -> Path:
    """The source package of a requirement."""
    options = ["--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "download", *options, requirement], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def _valid(tests: str) -> str:
    """The tests with inputs that the emulator accepts."""
    image = Image.new("RGBA", (16, 16))
    image.putpixel((0, 0), (0, 0, 0, 255))  # a mask that is fully transparent is refused
    image.save(data := BytesIO(), "PNG")
    file: Any = ("a.png", data.getvalue(), "image/png")
    given = {"model": "openai/gpt-image-1-5", "image": file, "mask": file}
    known = {
        "generate": schema.request("generations")["properties"],
        "edit": {**schema.request("edits")["properties"], **given},
    }
    tree = ast.parse(tests)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in known:
            asked = {each.arg: each.value for each in node.keywords if each.arg in known[node.func.attr]}
            asked |= {name: ast.Constant(value) for name, value in given.items() if name in {*asked, "model"}}
            node.keywords = [ast.keyword(name, value) for name, value in asked.items()]
    return ast.unparse(tree)


if __name__ == "__main__":
    sys.exit(main())
