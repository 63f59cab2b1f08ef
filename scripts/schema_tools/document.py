"""One valid OpenAPI document from all stored schemas: repaired, corrected, merged."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
from openapi_spec_validator import OpenAPIV30SpecValidator
from referencing.exceptions import Unresolvable

from schema_tools import Document, Notes, SchemaError
from schema_tools.merge import follow_published, merge, name_requests, operations, promote_titles, share_responses
from schema_tools.normalize import normalize
from schema_tools.overlay import apply_overlay, read_overlay
from schema_tools.stored import SOURCES, read_schema, read_sources, schema_files

HANDWRITTEN = "x-handwritten"


@attrs.frozen
class Built:
    """The document that the client is generated from.

    Attributes:
        document: One valid OpenAPI 3.0 document.
        notes: Defects of the published schemas that could not be repaired, one line each.
    """

    document: Document
    notes: Notes


def build_document(folder: Path) -> Built:
    """Repair and correct every schema of a folder, merge them, and validate the result.

    Schemas listed in `sources.yaml` are the publisher's and are repaired. The others were written for this project,
    and are marked so; only the overlay is applied to them.

    Args:
        folder: The folder with the schemas, `overlay.yaml` and `sources.yaml`.

    Raises:
        SchemaError: There is no schema, one is not JSON, not OpenAPI or not listed, two contradict each other, or
            the result is not valid OpenAPI.
        OverlayError: The overlay is malformed or does not fit a schema.
    """
    overlay = read_overlay(folder)
    sources = read_sources(folder)
    if missing := [name for name in sources if not (folder / name).is_file()]:
        raise SchemaError(f"sources.yaml names {', '.join(missing)}, and there is no such file in {folder}")
    notes: Notes = []
    documents: dict[str, Document] = {}
    for path in schema_files(folder):
        document = read_schema(path)
        if path.name in sources:
            normalized = normalize(document, path.name)
            notes += normalized.notes
            document = normalized.document
        elif not document.get("info", {}).get(HANDWRITTEN):
            raise SchemaError(
                f"{SOURCES} does not list {path.name}. If AI/ML API published it, list it there with the address of "
                "its page (or null), or store it with update_schema.py --add. If it was written for this project, set "
                f"{HANDWRITTEN}: true in its info: then it is taken as it is"
            )
        documents[path.name] = apply_overlay(document, overlay)
    if not documents:
        raise SchemaError(f"no schema (*.json) in {folder}")
    published = {name: document for name, document in documents.items() if name in sources}
    ours = {name: document for name, document in documents.items() if name not in sources}
    leave_to_ours(published, ours, notes)
    follow_published(ours.values(), published.values())
    name_requests([*published.values()])
    share_responses(published, notes)
    merged = merge({name: promote_titles(document, name) for name, document in documents.items()}, published.keys())
    if problems := list(_invalid_places(merged)):
        raise SchemaError("\n  ".join(["the corrected document is not valid OpenAPI 3.0:", *problems]))
    return Built(merged, notes)


def leave_to_ours(published: Mapping[str, Document], ours: Mapping[str, Document], notes: Notes) -> None:
    """Drop operations of published schemas that one of our own schemas describes, and note that."""
    taken = {(path, method): name for name, document in ours.items() for path, method, _ in operations(document)}
    for name, document in published.items():
        for path, method, _ in list(operations(document)):
            if (path, method) in taken:
                del document["paths"][path][method]
                notes.append(f"{name}: {method.upper()} {path} is left to {taken[path, method]}, for every model")


def _invalid_places(document: Document) -> Iterator[str]:
    try:
        for problem in OpenAPIV30SpecValidator(document).iter_errors():
            place = "/".join(map(str, problem.absolute_path)) or "(root)"
            yield f"{place}: {textwrap.shorten(problem.message, 300)}"
    except Unresolvable as error:
        yield f"a $ref leads nowhere: {error.ref}"
