"""The stored schemas of a folder, and the list of the published ones in `sources.yaml`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import yaml

from schema_tools import Document, SchemaError

SOURCES: Final = "sources.yaml"
_HEAD: Final = """\
# The schemas in this folder that AI/ML API published, with the pages they were taken from (null: a file).
# `ImageGenerationRequest` is generated from the first one.
# scripts/update_schema.py maintains this list.
"""


def read_sources(folder: Path) -> dict[str, str | None]:
    """Read the list of the publisher's schemas: file names with their URLs, or `None`.

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
    """Write the list, in the given order."""
    text = _HEAD + yaml.safe_dump(sources, sort_keys=False, width=1_000)
    (folder / SOURCES).write_text(text, encoding="utf-8", newline="\n")


def schema_files(folder: Path) -> list[Path]:
    """List the schemas of a folder: those in `sources.yaml` in its order, then every other `*.json` by name."""
    order = list(read_sources(folder))
    files = sorted(folder.glob("*.json"))
    return sorted(files, key=lambda path: order.index(path.name) if path.name in order else len(order))


def read_schema(path: Path) -> Document:
    """Read a stored schema.

    Raises:
        SchemaError: The file cannot be read, or is not a JSON object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SchemaError(f"{path.name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SchemaError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise SchemaError(f"{path.name} is not a JSON object")
    return document
