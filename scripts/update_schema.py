"""Compare the stored schemas with what AI/ML API publishes now, and take the changes over.

    make schema                                   every stored schema against the page that it is from
    make schema SOURCE=page.md                    one of them against a page, a JSON or YAML file, a URL, or -
    make schema SOURCE=page.md ARGS=--write       ... and store it, and make generated/ from it
    make schema SOURCE=https://… ARGS=--add       store another model's schema beside them

Exit codes: 0 nothing changes for users (other words at most), 1 additive, 2 breaking, 3 the source is unusable
or gives no client: then what is stored stays as it is.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

import attrs
import yaml

from change_report import UNUSABLE, Outcome, Report, render
from changes import Change, compare
from document import read_schema
from families import GENERATIONS, models_of, operations
from inlining import Document, SchemaError
from mending import Mended, mend
from overlay import OverlayError, apply_overlay
from reading import SourceError, find_schema, is_url, read_source
from regenerate import PACKAGE, ROOT, RegenerationError, generate, install
from signatures import changed_signatures, follow_up, signatures
from sources import read_sources, write_sources


@attrs.frozen(kw_only=True)
class Candidate:
    """A schema from outside, and the stored one that it is to replace.

    Attributes:
        name: The stored file.
        source: Where the schema is from.
        schema: As published.
        models: What it describes.
        notes: What in it cannot be mended.
    """

    name: str
    source: str
    schema: Document
    models: tuple[str, ...]
    notes: list[str]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", help="a page, a JSON or YAML file, a URL, or - (default: the URLs stored)")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--write", action="store_true", help="store the schema and make generated/ from it")
    action.add_argument("--add", action="store_true", help="store another model's schema beside those that are there")
    parser.add_argument("--path", help="which schema to take from a source with several, as /v1/images/generations")
    parser.add_argument("--format", choices=("text", "markdown", "json"), default="text", help="of the report")
    parser.add_argument("--openapi", type=Path, default=ROOT / "openapi", help="folder of schemas (default: openapi/)")
    parser.add_argument("--output", type=Path, default=ROOT / "generated", help="folder to fill (default: generated/)")
    options = parser.parse_args(arguments)
    if options.add and options.source is None:
        parser.error("--add needs a source")
    try:
        return _run(options)
    except (SourceError, SchemaError, OverlayError, RegenerationError) as error:
        print(f"update_schema: {error}", file=sys.stderr)
        return UNUSABLE


def _run(options: argparse.Namespace) -> int:
    folder: Path = options.openapi
    candidates = _candidates(options)
    outcome: Outcome | None = None
    if options.add:
        reports = [
            Report(name=each.name, source=each.source, changes=[], notes=each.notes, added=each.models)
            for each in candidates
        ]
        outcome = take_over(folder, options.output, candidates)
    else:
        reports = [examine(folder, candidate) for candidate in candidates]
        changed = [candidate for candidate, report in zip(candidates, reports, strict=True) if not report.same]
        if options.write and changed:
            outcome = take_over(folder, options.output, changed)
    print(render(reports, outcome, options.format))
    return max(report.code for report in reports)


def _candidates(options: argparse.Namespace) -> list[Candidate]:
    stored = read_sources(options.openapi)
    if options.source is not None:
        return [_candidate(options.source, options.openapi, stored, path=options.path, add=options.add)]
    known = {name: url for name, url in stored.items() if url}
    if not known:
        raise SourceError("no URL is stored (sources.yaml): name a SOURCE")
    return [_candidate(url, options.openapi, stored, path=options.path, name=name) for name, url in known.items()]


def _candidate(
    source: str,
    folder: Path,
    stored: dict[str, str | None],
    *,
    path: str | None,
    name: str | None = None,
    add: bool = False,
) -> Candidate:
    try:
        schema = find_schema(read_source(source), path=path)
        mended = mend(schema, "the schema")
    except SchemaError as error:
        raise SourceError(f"{source}: {error}") from error
    models = models_of(mended.document)
    _check_use(mended, models)
    here = {name: models_of(mend(read_schema(folder / name), name).document) for name in stored}
    paths = set(mended.document["paths"])
    found = [
        other
        for other, known in here.items()
        if set(models) & set(known) and paths & set(mend(read_schema(folder / other), other).document["paths"])
    ]
    if add:
        if found:
            raise SourceError(f"{', '.join(models)}: {found[0]} describes it already; take --write to change that")
        name = _file_name(models[0], paths, {path.name for path in folder.iterdir()})
    elif name is None:
        by_url = [other for other, url in stored.items() if url == source]
        if len(by_url or found) != 1:
            what = "no stored schema describes it; take --add" if not found else f"{' and '.join(found)} describe it"
            raise SourceError(f"{source} is for {', '.join(models)}: {what}")
        name = (by_url or found)[0]
    return Candidate(name=name, source=source, schema=schema, models=models, notes=_notes(mended, name))


def _check_use(mended: Mended, models: tuple[str, ...]) -> None:
    places = [f"{method.upper()} {path}" for path, method, _ in operations(mended.document)]
    if not any(path.startswith("/v1/images") for path in mended.document["paths"]):
        raise SourceError(f"the schema is not for an image model: it describes {', '.join(places)}")
    if not models:
        raise SourceError(f"the schema names no model for {', '.join(places)}: its request has to have a list of them")


def _notes(mended: Mended, name: str) -> list[str]:
    others = [
        f"{name}: ImageClient.generate() does not use {method.upper()} {path}: only aimlapi_rest.api.images has it"
        for path, method, _ in operations(mended.document)
        if path != GENERATIONS
    ]
    return [*(note.replace("the schema:", f"{name}:", 1) for note in mended.notes), *others]


def _file_name(model: str, paths: set[str], taken: set[str]) -> str:
    tail = "" if GENERATIONS in paths else "-" + sorted(paths)[0].removeprefix("/v1/images/").replace("/", "-")
    stem = "-".join(re.findall(r"[a-z0-9.]+", f"{model}{tail}".lower())) or "schema"
    names = [f"{stem}.json", *(f"{stem}-{number}.json" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def examine(folder: Path, candidate: Candidate) -> Report:
    """Compare a schema with the stored one, as users see them: mended and corrected."""
    overlay = yaml.safe_load((folder / "overlay.yaml").read_text(encoding="utf-8"))
    stored = read_schema(folder / candidate.name)
    old, new = (apply_overlay(mend(schema, candidate.name).document, overlay) for schema in (stored, candidate.schema))
    changes = compare(old, new)
    same = stored == candidate.schema
    if not changes and not same:
        changes = [Change("documentation", "schema", "differs in what no client shows: examples, names, samples")]
    return Report(name=candidate.name, source=candidate.source, changes=changes, notes=candidate.notes, same=same)


def take_over(folder: Path, output: Path, candidates: list[Candidate]) -> Outcome:
    """Store schemas and make the client from them: all of it, or nothing.

    Raises:
        SchemaError: Together with the others they give no valid document.
        RegenerationError: They give no client.
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
        generate(trial, fresh)
        before = signatures(output / PACKAGE)
        outcome = Outcome(
            signatures=changed_signatures(before, signatures(fresh)),
            facade=follow_up(ROOT / "src" / "aimlapi_images", fresh),
        )
        for name in (*(candidate.name for candidate in candidates), "sources.yaml"):
            shutil.copyfile(trial / name, folder / name)
        install(fresh, output / PACKAGE)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
