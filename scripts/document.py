"""The schemas in openapi/, mended, corrected and merged into the one document that the client is made from."""

from __future__ import annotations

import copy
import json
import textwrap
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

import attrs
import yaml
from openapi_spec_validator import OpenAPIV30SpecValidator
from referencing.exceptions import Unresolvable

from families import join_requests, name_requests, operations, share_responses
from inlining import Document, SchemaError
from keywords import Notes
from mending import mend
from overlay import apply_overlay
from sources import read_sources


@attrs.frozen
class Built:
    """The document that the client is made from.

    Attributes:
        document: One valid OpenAPI 3.0 document.
        notes: What could not be mended in the schemas as published, one line each.
    """

    document: Document
    notes: Notes


def schema_files(folder: Path) -> list[Path]:
    """The schemas of a folder: those of `sources.yaml` in its order, then every other `*.json`, by name."""
    order = list(read_sources(folder))
    files = sorted(folder.glob("*.json"))
    return sorted(files, key=lambda path: order.index(path.name) if path.name in order else len(order))


def build_document(folder: Path) -> Built:
    """Mend and correct every schema of `folder`, merge them, and validate the result.

    Those that `sources.yaml` names are the publisher's, and are mended. The others are ours, and are taken as
    they are, but for the overlay.

    Args:
        folder: The folder with the schemas as published, ours beside them, `overlay.yaml` and `sources.yaml`.

    Raises:
        SchemaError: There is no schema, one is not JSON or not OpenAPI, two contradict each other, or the
            result is not valid OpenAPI.
        OverlayError: The overlay is malformed or does not fit a schema.
    """
    overlay = yaml.safe_load((folder / "overlay.yaml").read_text(encoding="utf-8"))
    sources = read_sources(folder)
    if missing := [name for name in sources if not (folder / name).is_file()]:
        raise SchemaError(f"sources.yaml names {', '.join(missing)}, and there is no such file in {folder}")
    notes: Notes = []
    documents: dict[str, Document] = {}
    for path in schema_files(folder):
        document = read_schema(path)
        if path.name in sources:
            mended = mend(document, path.name)
            notes += mended.notes
            document = mended.document
        documents[path.name] = apply_overlay(document, overlay)
    if not documents:
        raise SchemaError(f"no schema (*.json) in {folder}")
    published = {name: document for name, document in documents.items() if name in sources}
    leave_to_ours(published, {name: document for name, document in documents.items() if name not in sources}, notes)
    name_requests([*published.values()])
    share_responses(published, notes)
    merged = merge({name: promote_titles(document, name) for name, document in documents.items()}, published.keys())
    if problems := list(_invalid_places(merged)):
        raise SchemaError("\n  ".join(["the corrected document is not valid OpenAPI 3.0:", *problems]))
    return Built(merged, notes)


def read_schema(path: Path) -> Document:
    """A schema of the folder.

    Raises:
        SchemaError: It is not a JSON object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SchemaError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise SchemaError(f"{path.name} is not a JSON object")
    return document


def leave_to_ours(published: Mapping[str, Document], ours: Mapping[str, Document], notes: Notes) -> None:
    """Drop operations of published schemas that one of ours describes, for whichever model. A note says so."""
    taken = {(path, method): name for name, document in ours.items() for path, method, _ in operations(document)}
    for name, document in published.items():
        for path, method, _ in list(operations(document)):
            if (path, method) in taken:
                del document["paths"][path][method]
                notes.append(f"{name}: {method.upper()} {path} is left to {taken[path, method]}, for every model")


def promote_titles(document: Document, name: str) -> Document:
    """Move titled request and response bodies to `components/schemas`, so that they can be referred to.

    Raises:
        SchemaError: Two different bodies have the same title.
    """
    document = copy.deepcopy(document)
    components: Document = document.setdefault("components", {}).setdefault("schemas", {})
    for path, method, operation in operations(document):
        parts = [operation.get("requestBody", {}), *operation.get("responses", {}).values()]
        for media_type in (media for part in parts for media in part.get("content", {}).values()):
            schema = media_type.get("schema", {})
            title = schema.get("title")
            if title is None:
                continue
            if components.setdefault(title, schema) != schema:
                raise SchemaError(f"{name}: two different bodies are titled {title} (one of them at {method} {path})")
            media_type["schema"] = {"$ref": f"#/components/schemas/{title}"}
    return document


def merge(documents: Mapping[str, Document], published: Container[str] = ()) -> Document:
    """Merge documents whose components agree where they share a name.

    Args:
        documents: By name.
        published: Names of those that may describe one operation together, each for its own models.

    Raises:
        SchemaError: Two documents have the same operation for the same models, or for any, or different
            components under one name.
    """
    merged: Document = {
        "openapi": "3.0.3",
        "info": {"title": "AI/ML API images", "version": "1.0.0"},
        "servers": [],
        "paths": {},
        "components": {},
    }
    of: dict[tuple[str, str], str] = {}
    for name, document in documents.items():
        for server in document.get("servers", []):
            if server not in merged["servers"]:
                merged["servers"].append(server)
        for kind, entries in document.get("components", {}).items():
            known = merged["components"].setdefault(kind, {})
            for key, entry in entries.items():
                if known.setdefault(key, entry) != entry:
                    raise SchemaError(f"{name}: components/{kind}/{key} differs from the one of another schema")
        for path, method, operation in operations(document):
            item = merged["paths"].setdefault(path, {})
            if method not in item:
                item[method] = copy.deepcopy(operation)
                of[path, method] = name
            elif name in published and of[path, method] in published:
                schemas = merged["components"].get("schemas", {})
                join_requests(item[method], operation, f"{method} {path}", name, schemas)
            else:
                raise SchemaError(f"{of[path, method]} and {name} both describe {method} {path}")
        for path, item in document.get("paths", {}).items():
            rest = {key: value for key, value in item.items() if key not in merged["paths"].get(path, {})}
            merged["paths"].setdefault(path, {}).update(rest)
    return merged


def _invalid_places(document: Document) -> Iterator[str]:
    try:
        for problem in OpenAPIV30SpecValidator(document).iter_errors():
            place = "/".join(map(str, problem.absolute_path)) or "(root)"
            yield f"{place}: {textwrap.shorten(problem.message, 300)}"
    except Unresolvable as error:
        yield f"a $ref leads nowhere: {error.ref}"
