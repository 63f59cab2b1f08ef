"""The schemas in openapi/, corrected and merged into the one document that the client is made from."""

from __future__ import annotations

import copy
import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from openapi_spec_validator import OpenAPIV30SpecValidator
from referencing.exceptions import Unresolvable

from overlay import apply_overlay

Document = dict[str, Any]

METHODS = ("get", "put", "post", "delete", "patch")


class SchemaError(ValueError):
    """A schema that cannot be made into a client. The message names the schema and the place in it."""


def schema_files(folder: Path) -> list[Path]:
    """The schemas of a folder: every `*.json`, by name."""
    return sorted(folder.glob("*.json"))


def build_document(folder: Path) -> Document:
    """Correct every schema of `folder` with its `overlay.yaml`, merge them, and validate the result.

    Args:
        folder: The folder with the schemas as published, ours beside them, and the overlay.

    Returns:
        One valid OpenAPI 3.0 document.

    Raises:
        SchemaError: There is no schema, one is not JSON, two contradict each other, or the result is not
            valid OpenAPI.
        OverlayError: The overlay is malformed or does not fit a schema.
    """
    overlay = yaml.safe_load((folder / "overlay.yaml").read_text(encoding="utf-8"))
    documents: dict[str, Document] = {}
    for path in schema_files(folder):
        try:
            published = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SchemaError(f"{path.name} is not JSON: {error}") from error
        documents[path.name] = promote_titles(apply_overlay(remember_defaults(published), overlay), path.name)
    if not documents:
        raise SchemaError(f"no schema (*.json) in {folder}")
    merged = merge(documents)
    if problems := list(_invalid_places(merged)):
        raise SchemaError("\n  ".join(["the corrected document is not valid OpenAPI 3.0:", *problems]))
    return merged


def remember_defaults(document: Document) -> Document:
    """Copy the default of each request field to `x-api-default`.

    The generator has to be kept from sending defaults, so the overlay removes them. The emulator and the
    command's help still need to know what the API assumes.
    """
    document = copy.deepcopy(document)
    for _, operation in _operations(document):
        for schema in _walk(operation.get("requestBody", {})):
            properties = schema.get("properties")
            for field in properties.values() if isinstance(properties, dict) else ():
                if isinstance(field, dict) and "default" in field:
                    field["x-api-default"] = field["default"]
    return document


def promote_titles(document: Document, name: str) -> Document:
    """Move titled request and response bodies to `components/schemas`, so that they can be referred to.

    Raises:
        SchemaError: Two different bodies have the same title.
    """
    document = copy.deepcopy(document)
    components: Document = document.setdefault("components", {}).setdefault("schemas", {})
    for place, operation in _operations(document):
        bodies = [operation.get("requestBody", {}), *operation.get("responses", {}).values()]
        for media_type in (media for body in bodies for media in body.get("content", {}).values()):
            schema = media_type.get("schema", {})
            title = schema.get("title")
            if title is None:
                continue
            if components.setdefault(title, schema) != schema:
                raise SchemaError(f"{name}: two different bodies are titled {title} (one of them at {place})")
            media_type["schema"] = {"$ref": f"#/components/schemas/{title}"}
    return document


def merge(documents: Mapping[str, Document]) -> Document:
    """Merge documents whose paths differ, and whose components agree where they share a name.

    Raises:
        SchemaError: Two documents have the same operation, or different components under one name.
    """
    merged: Document = {
        "openapi": "3.0.3",
        "info": {"title": "AI/ML API images", "version": "1.0.0"},
        "servers": [],
        "paths": {},
        "components": {},
    }
    for name, document in documents.items():
        for server in document.get("servers", []):
            if server not in merged["servers"]:
                merged["servers"].append(server)
        for place, _ in _operations(document):
            method, path = place.split(" ", 1)
            if method in merged["paths"].get(path, {}):
                raise SchemaError(f"{name}: {place} is described by another schema already")
        for path, item in document.get("paths", {}).items():
            merged["paths"].setdefault(path, {}).update(item)
        for kind, entries in document.get("components", {}).items():
            known = merged["components"].setdefault(kind, {})
            for key, entry in entries.items():
                if known.setdefault(key, entry) != entry:
                    raise SchemaError(f"{name}: components/{kind}/{key} differs from the one of another schema")
    return merged


def _invalid_places(document: Document) -> Iterator[str]:
    try:
        for problem in OpenAPIV30SpecValidator(document).iter_errors():
            place = "/".join(map(str, problem.absolute_path)) or "(root)"
            yield f"{place}: {textwrap.shorten(problem.message, 300)}"
    except Unresolvable as error:
        yield f"a $ref leads nowhere: {error.ref}"


def _operations(document: Document) -> Iterator[tuple[str, Document]]:
    for path, item in document.get("paths", {}).items():
        for method, operation in item.items():
            if method in METHODS:
                yield f"{method} {path}", operation


def _walk(node: object) -> Iterator[Document]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from _walk(value)
