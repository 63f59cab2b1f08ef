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
from typing import Final, NoReturn

import attrs
import yaml

from change_report import UNUSABLE, Outcome, Report, render
from changes import compare
from document import read_schema
from families import models_of, operations
from field_changes import Change
from inlining import Document, SchemaError
from mending import GENERATIONS, Mended, mend
from overlay import OverlayError, apply_overlay
from reading import SourceError, find_schema, is_url, read_source
from regenerate import PACKAGE, ROOT, RegenerationError, generate, install
from signatures import changed_signatures, follow_up, signatures
from sources import read_sources, write_sources


@attrs.frozen(kw_only=True)
class Candidate:
    """A schema from outside, and the stored one that it is to replace.

    Attributes:
        name: The stored file; empty as long as it is not known.
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


USAGE: Final = 64  # as sysexits has it


class _Parser(argparse.ArgumentParser):
    """Its usual exit code for a usage error, 2, has another meaning here."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def main(arguments: list[str] | None = None) -> int:
    parser = _Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="*", help="a page, a JSON or YAML file, a URL, or - (default: the URLs stored)")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--write", action="store_true", help="store the schema and make generated/ from it")
    action.add_argument("--add", action="store_true", help="store another model's schema beside those that are there")
    parser.add_argument("--path", help="which schema to take from a source with several, as /v1/images/generations")
    parser.add_argument("--format", choices=("text", "markdown", "json"), default="text", help="of the report")
    parser.add_argument("--openapi", type=Path, default=ROOT / "openapi", help="folder of schemas (default: openapi/)")
    parser.add_argument("--output", type=Path, default=ROOT / "generated", help="folder to fill (default: generated/)")
    options = parser.parse_args(arguments)
    if options.add and not options.source:
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
        outcome = take_over(folder, options.output, candidates)
        reports = [
            Report(name=each.name, source=each.source, changes=[], notes=_all_notes(each, outcome), added=each.models)
            for each in candidates
        ]
    else:
        reports = [examine(folder, candidate) for candidate in candidates]
        changed = [candidate for candidate, report in zip(candidates, reports, strict=True) if not report.same]
        if options.write and changed:
            outcome = take_over(folder, options.output, changed)
    print(render(reports, outcome, options.format))
    return max(report.code for report in reports)


def _candidates(options: argparse.Namespace) -> list[Candidate]:
    stored = read_sources(options.openapi)
    known = {name: _mended(read_schema(options.openapi / name), name) for name in stored}
    if options.source:
        candidates = [_read(source, options.path) for source in options.source]
        if options.add:
            return _added(candidates, known, {path.name for path in options.openapi.iterdir()})
        named = [attrs.evolve(each, name=_replaced(each, stored, known)) for each in candidates]
        names = [each.name for each in named]
        if twice := [name for number, name in enumerate(names) if name in names[:number]]:
            raise SourceError(f"several sources for {twice[0]}: name one")
        return named
    if not any(stored.values()):
        raise SourceError("no URL is stored (sources.yaml): name a SOURCE")
    return [attrs.evolve(_read(url, options.path), name=name) for name, url in stored.items() if url]


def _mended(schema: Document, name: str) -> Document:
    return mend(schema, name).document


def _read(source: str, path: str | None) -> Candidate:
    try:
        schema = find_schema(read_source(source), path=path)
        mended = mend(schema, "the schema")
    except (SourceError, SchemaError) as error:
        raise SourceError(str(error) if source in str(error) else f"{source}: {error}") from error
    models = models_of(mended.document)
    _check_use(mended, models)
    return Candidate(name="", source=source, schema=schema, models=models, notes=_notes(mended))


def _replaced(candidate: Candidate, stored: dict[str, str | None], known: dict[str, Document]) -> str:
    """The stored file that a schema is a new edition of: the one from that URL, or for its models."""
    found = [name for name, url in stored.items() if url == candidate.source] or _describing(candidate, known)
    if len(found) != 1:
        what = f"{' and '.join(found)} describe it" if found else "no stored schema describes it; take --add"
        raise SourceError(f"{candidate.source} is for {', '.join(candidate.models)}: {what}")
    return found[0]


def _added(candidates: list[Candidate], known: dict[str, Document], taken: set[str]) -> list[Candidate]:
    """The schemas under file names of their own."""
    added: list[Candidate] = []
    for candidate in candidates:
        if found := _describing(candidate, known):
            what = f"{found[0]} describes it already; take --write to change that"
            raise SourceError(f"{candidate.source} is for {', '.join(candidate.models)}: {what}")
        document = _mended(candidate.schema, candidate.source)
        named = attrs.evolve(candidate, name=_file_name(candidate.models[0], set(document["paths"]), taken))
        taken.add(named.name)
        known[named.name] = document
        added.append(named)
    return added


def _describing(candidate: Candidate, known: dict[str, Document]) -> list[str]:
    document = _mended(candidate.schema, candidate.source)
    return [
        name
        for name, other in known.items()
        if set(models_of(other)) & set(candidate.models) and other["paths"].keys() & document["paths"].keys()
    ]


def _check_use(mended: Mended, models: tuple[str, ...]) -> None:
    places = [f"{method.upper()} {path}" for path, method, _ in operations(mended.document)]
    if not any(path.startswith("/v1/images") for path in mended.document["paths"]):
        raise SourceError(f"the schema is not for an image model: it describes {', '.join(places)}")
    if not models:
        raise SourceError(f"the schema names no model for {', '.join(places)}: its request has to have a list of them")


def _notes(mended: Mended) -> list[str]:
    others = [
        f"ImageClient.generate() does not use {method.upper()} {path}: only aimlapi_rest.api.images has it"
        for path, method, _ in operations(mended.document)
        if path != GENERATIONS
    ]
    return [*(note.removeprefix("the schema: ") for note in mended.notes), *others]


def _all_notes(candidate: Candidate, outcome: Outcome) -> list[str]:
    """What is not mended or not used of a schema: by itself, and beside the others."""
    beside = [note.removeprefix(f"{candidate.name}: ") for note in outcome.notes if note.startswith(candidate.name)]
    return list(dict.fromkeys([*candidate.notes, *beside]))


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
        notes = generate(trial, fresh)
        before = signatures(output / PACKAGE)
        outcome = Outcome(
            signatures=changed_signatures(before, signatures(fresh)),
            facade=follow_up(ROOT / "src" / "aimlapi_images", fresh),
            notes=notes,
        )
        for name in (*(candidate.name for candidate in candidates), "sources.yaml"):
            shutil.copyfile(trial / name, folder / name)
        install(fresh, output / PACKAGE)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
