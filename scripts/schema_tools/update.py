"""Updates of the stored schemas: compare them with their sources, replace them, add further ones."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path

import attrs

from schema_tools import Document, SchemaError
from schema_tools.diff import Change, compare
from schema_tools.facade import follow_up
from schema_tools.generator import PACKAGE, ROOT, generate, install
from schema_tools.merge import models_of, operations
from schema_tools.normalize import GENERATIONS, Normalized, normalize
from schema_tools.overlay import apply_overlay, read_overlay
from schema_tools.report import Outcome, Report, changed_signatures, signatures
from schema_tools.source import SourceError, described_models, find_schema, is_url, read_source
from schema_tools.stored import read_schema, read_sources, schema_files, write_sources


@attrs.frozen(kw_only=True)
class Candidate:
    """A schema from a source, which is to be stored.

    Attributes:
        source: A path, a URL, or `-`.
        schema: The schema as published.
        document: The same schema after repair.
        models: The models that it describes.
        notes: Defects that could not be repaired.
        name: The file name to store it under; empty until it is known.
    """

    source: str
    schema: Document
    document: Document
    models: tuple[str, ...]
    notes: list[str]
    name: str = ""


@attrs.frozen(kw_only=True)
class Choice:
    """Which schema to take from a source with several: the one with this path, and for this model."""

    path: str | None = None
    model: str | None = None


def compare_stored(
    folder: Path, output: Path, sources: list[str], choice: Choice, *, write: bool
) -> tuple[list[Report], Outcome | None]:
    """Compare stored schemas with their sources, and replace those that changed if `write` is set.

    Args:
        folder: The folder with the schemas.
        output: The folder with the generated package.
        sources: Paths, URLs or `-`; if empty, the stored URLs.
        choice: Which schema to take from a source with several.
        write: Whether to store changed schemas and regenerate the package.

    Raises:
        SourceError: A source cannot be used, or does not match exactly one stored schema.
        SchemaError: The schemas do not combine into one valid document.
        RegenerationError: The generator fails.
    """
    stored = read_sources(folder)
    if sources:
        known = _stored_documents(folder)
        read = [_read(source, choice) for source in sources]
        candidates = [attrs.evolve(each, name=_replaced(each, stored, known)) for each in read]
        names = [each.name for each in candidates]
        if twice := [name for number, name in enumerate(names) if name in names[:number]]:
            raise SourceError(f"several sources for {twice[0]}: name one")
    elif any(stored.values()):
        known = _stored_documents(folder)
        candidates = [attrs.evolve(_read(url, choice, known[name]), name=name) for name, url in stored.items() if url]
    else:
        raise SourceError("no URL is stored (sources.yaml): name a SOURCE")
    reports = [examine(folder, candidate) for candidate in candidates]
    changed = [candidate for candidate, report in zip(candidates, reports, strict=True) if not report.same]
    return reports, store(folder, output, changed) if write and changed else None


def add(folder: Path, output: Path, sources: list[str], choice: Choice) -> tuple[list[Report], Outcome | None]:
    """Store the schemas of further models and regenerate the package. For arguments and errors see `compare_stored`.

    A schema that would not be used, as one of ours describes its requests, is refused.
    """
    ours = _described_by_us(folder)
    known = _stored_documents(folder)
    taken = {file.name for file in folder.iterdir()}
    candidates: list[Candidate] = []
    for candidate in [_read(source, choice) for source in sources]:
        if found := _describing(candidate, known):
            what = f"{found[0]} describes it already; take --write to change that"
            raise SourceError(f"{candidate.source} is for {', '.join(candidate.models)}: {what}")
        places = [f"{method.upper()} {path}" for path, method, _ in operations(candidate.document)]
        if all(place in ours for place in places):
            raise SourceError(
                f"{candidate.source} would not be used: {ours[places[0]]} describes {places[0]} for every model. "
                "Requests for models that it does not list are sent unchecked; list a model there that has its fields"
            )
        name = _file_name(candidate.models[0], set(candidate.document["paths"]), taken)
        taken.add(name)
        known[name] = candidate.document
        candidates.append(attrs.evolve(candidate, name=name))
    outcome = store(folder, output, candidates)
    reports = [
        Report(name=each.name, source=each.source, changes=[], notes=_all_notes(each, outcome), added=each.models)
        for each in candidates
    ]
    return reports, outcome


def _stored_documents(folder: Path) -> dict[str, Document]:
    return {name: normalize(read_schema(folder / name), name).document for name in read_sources(folder)}


def _described_by_us(folder: Path) -> dict[str, str]:
    """The operations of our own schemas, with the names of the files."""
    published = read_sources(folder)
    ours = [file for file in schema_files(folder) if file.name not in published]
    return {f"{method.upper()} {path}": file.name for file in ours for path, method, _ in operations(read_schema(file))}


def _read(source: str, choice: Choice, stored: Document | None = None) -> Candidate:
    """Read a source. If it has several schemas, take the one for the same requests as the stored one."""

    def replaces(document: Document) -> bool:
        known = stored or {"paths": {}}
        paths = [each for path in document.get("paths", ()) for each in (path, f"/v1{path}")]
        return not {*paths}.isdisjoint(known["paths"]) and not {*described_models(document)}.isdisjoint(
            models_of(known)
        )

    try:
        schema = find_schema(read_source(source), path=choice.path, model=choice.model, prefer=replaces)
        normalized = normalize(schema, "the schema")
    except (SourceError, SchemaError) as error:
        raise SourceError(str(error) if source in str(error) else f"{source}: {error}") from error
    models = models_of(normalized.document)
    _check_use(normalized, models)
    return Candidate(
        source=source, schema=schema, document=normalized.document, models=models, notes=_notes(normalized)
    )


def _replaced(candidate: Candidate, stored: dict[str, str | None], known: dict[str, Document]) -> str:
    """Find the stored file that a schema replaces: the one from the same URL, or for the same models."""
    found = [name for name, url in stored.items() if url == candidate.source] or _describing(candidate, known)
    if len(found) != 1:
        what = f"{' and '.join(found)} describe it" if found else "no stored schema describes it; take --add"
        raise SourceError(f"{candidate.source} is for {', '.join(candidate.models)}: {what}")
    return found[0]


def _describing(candidate: Candidate, known: dict[str, Document]) -> list[str]:
    return [
        name
        for name, other in known.items()
        if set(models_of(other)) & set(candidate.models) and other["paths"].keys() & candidate.document["paths"].keys()
    ]


def _check_use(normalized: Normalized, models: tuple[str, ...]) -> None:
    places = [f"{method.upper()} {path}" for path, method, _ in operations(normalized.document)]
    if not any(path.startswith("/v1/images") for path in normalized.document["paths"]):
        raise SourceError(f"the schema is not for an image model: it describes {', '.join(places)}")
    if not models:
        raise SourceError(f"the schema names no model for {', '.join(places)}: its request has to have a list of them")


def _notes(normalized: Normalized) -> list[str]:
    others = [
        f"ImageClient.generate() does not use {method.upper()} {path}: only aimlapi_rest.api.images has it"
        for path, method, _ in operations(normalized.document)
        if path != GENERATIONS
    ]
    return [*(note.removeprefix("the schema: ") for note in normalized.notes), *others]


def _all_notes(candidate: Candidate, outcome: Outcome) -> list[str]:
    """The notes on a schema by itself, and in combination with the others."""
    beside = [note.removeprefix(f"{candidate.name}: ") for note in outcome.notes if note.startswith(candidate.name)]
    return list(dict.fromkeys([*candidate.notes, *beside]))


def _file_name(model: str, paths: set[str], taken: set[str]) -> str:
    tail = "" if GENERATIONS in paths else "-" + sorted(paths)[0].removeprefix("/v1/images/").replace("/", "-")
    stem = "-".join(re.findall(r"[a-z0-9.]+", f"{model}{tail}".lower())) or "schema"
    names = [f"{stem}.json", *(f"{stem}-{number}.json" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def examine(folder: Path, candidate: Candidate) -> Report:
    """Compare a schema with the stored one, both repaired and corrected."""
    overlay = read_overlay(folder)
    stored = read_schema(folder / candidate.name)
    normalized = normalize(stored, candidate.name).document
    changes = compare(apply_overlay(normalized, overlay), apply_overlay(candidate.document, overlay))
    same = stored == candidate.schema
    if not changes and not same:
        changes = [Change("documentation", "schema", "differs in what no client shows: examples, names, samples")]
    return Report(name=candidate.name, source=candidate.source, changes=changes, notes=candidate.notes, same=same)


def store(folder: Path, output: Path, candidates: list[Candidate]) -> Outcome:
    """Store schemas and regenerate the client. If that fails, nothing is changed.

    Raises:
        SchemaError: The schemas do not combine into one valid document.
        RegenerationError: The generator fails.
    """
    with tempfile.TemporaryDirectory() as scratch:
        trial = Path(shutil.copytree(folder, Path(scratch) / "openapi"))
        sources = read_sources(trial)
        for candidate in candidates:
            text = json.dumps(candidate.schema, indent=2, ensure_ascii=False) + "\n"
            (trial / candidate.name).write_text(text, encoding="utf-8", newline="\n")
            url = candidate.source if is_url(candidate.source) else None
            sources[candidate.name] = url or sources.get(candidate.name)
        write_sources(trial, sources)
        fresh = Path(scratch) / PACKAGE
        notes = generate(trial, fresh)
        before = signatures(output / PACKAGE)
        outcome = Outcome(
            signatures=changed_signatures(before, signatures(fresh)),
            facade=follow_up(ROOT, fresh),
            notes=notes,
        )
        for name in (*(candidate.name for candidate in candidates), "sources.yaml"):
            shutil.copyfile(trial / name, folder / name)
        install(fresh, output / PACKAGE)
    return outcome
