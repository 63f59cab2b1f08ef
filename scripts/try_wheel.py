"""Test of the built wheel: install it into a clean environment and use it there. Part of `make test`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Without extras: public names load only what they need.
IMPORTS = """
import sys
import aimlapi_images
from aimlapi_images import ImageClient, GeneratedImage, RateLimitError
import aimlapi_rest
from aimlapi_rest.api.images import generate_image
from aimlapi_rest.models import ImageGenerationRequest
assert "site-packages" in aimlapi_images.__file__, aimlapi_images.__file__
ImageClient("key")
"""
TYPED = """
from importlib.resources import files
assert all((files(package) / "py.typed").is_file() for package in ("aimlapi_images", "aimlapi_rest"))
assert (files("aimlapi_rest") / "openapi.json").is_file()
"""
LOOK = """
from PIL import Image
assert Image.open("trex.png").size == (1536, 1024)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run([sys.executable, "-m", "build", "--wheel", "--outdir", scratch, str(ROOT)])
        (wheel,) = folder.glob("*.whl")
        print(f"{wheel.name}: {wheel.stat().st_size:,} bytes")

        venv.create(folder / "env", with_pip=True)
        scripts = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
        python, command = str(scripts / "python"), str(scripts / "aimlapi-images")
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        install += ["--constraint", str(ROOT / "constraints.txt")]

        run([*install, str(wheel)])
        run([python, "-I", "-W", "error", "-c", IMPORTS + TYPED], cwd=folder)
        hint = run([command, "--help"], cwd=folder, expected=1)
        assert 'pip install ".[cli]"' in hint, hint
        missing = run([python, "-c", "from aimlapi_images.emulator import serve"], cwd=folder, expected=1)
        assert 'pip install ".[emulator]"' in missing, missing
        print("without extras: imports work, and the command and the emulator name the extra that they need")

        run([*install, f"{wheel}[cli]"])
        hint = run([command, "generate", "x", "--emulator"], cwd=folder, expected=2)
        assert 'pip install ".[emulator]"' in hint, hint
        run([*install, f"{wheel}[cli,emulator]"])
        run([python, "-m", "pip", "check"])
        print(
            run([command, "generate", "A T-Rex", "--size", "1536x1024", "-o", "trex", "--emulator"], cwd=folder).strip()
        )
        run([python, "-c", LOOK], cwd=folder)
        (folder / "jobs.txt").write_text("a fox\nan owl\n", encoding="utf-8")
        print(run([command, "batch", "jobs.txt", "--out", "foxes", "--quiet", "--emulator"], cwd=folder).strip())
        assert len(list((folder / "foxes").glob("*.png"))) == 2
        assert "<style>:root" in (folder / "foxes" / "index.html").read_text(encoding="utf-8")
        hint = run([command, "batch", "jobs.txt", "--out", "x", "--transport", "aiohttp"], cwd=folder, expected=2)
        assert 'pip install ".[aiohttp]"' in hint, hint
        print("with the extras cli and emulator: the command makes an image, and a batch")

        run([*install, "pytest", "pytest-asyncio"])
        (folder / "suite").mkdir()
        (folder / "suite" / "test_cover.py").write_text(test_file(), encoding="utf-8")
        settings = ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
        print(run([python, "-W", "error", "-m", "pytest", "-q", *settings], cwd=folder / "suite").strip())
        print("with pytest: a user's test file runs with the fixtures of the package")


def test_file() -> str:
    """The test file in the README."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (file,) = (block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "def test_" in block)
    return str(file)


def run(command: list[str], *, cwd: Path | None = None, expected: int = 0) -> str:
    # Without this interpreter's settings, which the new environment must not depend on.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AIML"))}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode != expected:
        sys.exit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


if __name__ == "__main__":
    main()
