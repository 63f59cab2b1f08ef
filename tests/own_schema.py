"""The schema that the tests run with: their own, so that a change of what is published fails none of them.

The client for it is the committed one, unless that was made for another schema. Then it is made here, once in each
process, and put before the committed one on the path, of processes that a test starts, too.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from schema_tools.generator import PACKAGE, ROOT, generate
from schema_tools.stored import read_sources, write_sources

NAME = "gpt-image-1-5.json"
PAGE = "https://docs.aimlapi.com/model.md"
STORED: dict[str, Any] = json.loads((ROOT / "tests" / "scripts" / NAME).read_text(encoding="utf-8"))


def stored_schemas(folder: Path) -> Path:
    """Copy openapi/, with the schema of the tests in place of the published ones. Returns the copy."""
    openapi = Path(shutil.copytree(ROOT / "openapi", folder / "openapi"))
    for name in read_sources(openapi):
        (openapi / name).unlink()
    (openapi / NAME).write_text(json.dumps(STORED), encoding="utf-8")
    write_sources(openapi, {NAME: PAGE})
    return openapi


def _generated() -> Path:
    stored = {
        name: json.loads((ROOT / "openapi" / name).read_text(encoding="utf-8"))
        for name in read_sources(ROOT / "openapi")
    }
    if stored == {NAME: STORED}:
        return ROOT / "generated"
    assert PACKAGE not in sys.modules, "the committed client is loaded already"
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    generated = folder / "generated"
    generate(stored_schemas(folder), generated / PACKAGE)
    sys.path.insert(0, str(generated))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(generated), os.environ.get("PYTHONPATH")]))
    return generated


GENERATED = _generated()
