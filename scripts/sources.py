"""Which of the schemas in openapi/ are the publisher's, and where each was taken from: `sources.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml

from inlining import SchemaError

SOURCES: Final = "sources.yaml"
_HEAD: Final = """\
# The schemas in this folder that AI/ML API published, and the pages that they were taken from (null: a file).
# The first one is the one that `ImageGenerationRequest` is made from.
# scripts/update_schema.py keeps this list.
"""


def read_sources(folder: Path) -> dict[str, str | None]:
    """The publisher's schemas by file name, each with its URL if it has one.

    Raises:
        SchemaError: The list is malformed.
    """
    file = folder / SOURCES
    if not file.is_file():
        return {}
    try:
        sources = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise SchemaError(f"{SOURCES} is not YAML: {error}") from error
    if not isinstance(sources, dict) or not all(isinstance(name, str) for name in sources):
        raise SchemaError(f"{SOURCES} has to map file names to URLs")
    if wrong := [name for name, url in sources.items() if not isinstance(url, str | None)]:
        raise SchemaError(f"{SOURCES}: {wrong[0]} has to have a URL, or null")
    return sources


def write_sources(folder: Path, sources: dict[str, str | None]) -> None:
    """Write the list, in its order."""
    text = _HEAD + yaml.safe_dump(sources, sort_keys=False, width=1_000)
    (folder / SOURCES).write_text(text, encoding="utf-8", newline="\n")
