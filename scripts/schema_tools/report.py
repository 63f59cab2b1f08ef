"""Reports: a comparison as text, Markdown or JSON, and the signatures that changed in the generated package."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from schema_tools.diff import KINDS, Change, Kind

_HEADINGS: Final[dict[Kind, str]] = {
    "breaking": "Breaking for users",
    "additive": "Additive",
    "documentation": "Documentation only",
}
_REST: Final = "additional_properties"
UNCHANGED, ADDITIVE, BREAKING, UNUSABLE = range(4)


@attrs.frozen(kw_only=True)
class Report:
    """The result of comparing one stored schema with its source.

    Attributes:
        name: The stored file.
        source: The source that it was compared with.
        changes: The differences.
        notes: Defects of the source that are not repaired, and operations that are not supported.
        same: Whether the source equals the stored schema, apart from its layout.
        added: The models of a new schema.
    """

    name: str
    source: str
    changes: list[Change]
    notes: list[str] = attrs.field(factory=list)
    same: bool = False
    added: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        """The exit code. Changes in documentation only count as none."""
        kinds = {change.kind for change in self.changes}
        return BREAKING if "breaking" in kinds else ADDITIVE if "additive" in kinds else UNCHANGED

    @property
    def verdict(self) -> str:
        """A summary in one line."""
        if self.added:
            return f"added for {', '.join(self.added)}"
        counts = [(sum(change.kind == kind for change in self.changes), kind) for kind in KINDS]
        words = {"breaking": "breaking", "additive": "additive", "documentation": "in documentation only"}
        return ", ".join(f"{count} {words[kind]}" for count, kind in counts if count) or "unchanged"


@attrs.frozen(kw_only=True)
class Outcome:
    """The result of storing schemas and regenerating.

    Attributes:
        signatures: Public signatures that changed.
        facade: Changes to make by hand in the facade.
        notes: Defects of all schemas that are not repaired; each line begins with the name of the file.
    """

    signatures: list[str]
    facade: list[str]
    notes: list[str] = attrs.field(factory=list)


def render(reports: list[Report], outcome: Outcome | None, style: str) -> str:
    """Render the report as `text`, `markdown` or `json`."""
    if style == "json":
        return json.dumps(_as_data(reports, outcome), indent=2, ensure_ascii=False)
    marks = ("## ", "### ", "- ") if style == "markdown" else ("", "", "  ")
    parts: list[str] = []
    for report in reports:
        against = "From" if report.added else "Compared with"
        parts.append(f"{marks[0]}{report.name}: {report.verdict}\n\n{against} {report.source}.")
        for kind in KINDS:
            lines = [f"{_code(change.place, style)}: {change.text}" for change in report.changes if change.kind == kind]
            parts += _section(_HEADINGS[kind], lines, marks)
        parts += _section("Not normalized, or not supported", report.notes, marks)
    if outcome is not None:
        signatures = [_code(line, style) for line in outcome.signatures] or ["none"]
        parts += _section("Public signatures that changed", signatures, marks)
        parts += _section("To follow by hand", outcome.facade, marks)
    return "\n\n".join(parts)


def _section(heading: str, lines: list[str], marks: tuple[str, str, str]) -> list[str]:
    if not lines:
        return []
    gap = "\n\n" if marks[1] else "\n"
    return [f"{marks[1]}{heading}{'' if marks[1] else ':'}{gap}" + "\n".join(f"{marks[2]}{line}" for line in lines)]


def _code(text: str, style: str) -> str:
    return f"`{text}`" if style == "markdown" else text


def _as_data(reports: list[Report], outcome: Outcome | None) -> dict[str, Any]:
    return {
        "schemas": [
            {
                "name": report.name,
                "source": report.source,
                "verdict": "added" if report.added else ("unchanged", "additive", "breaking")[report.code],
                "changes": [attrs.asdict(change) for change in report.changes],
                "not_mended": report.notes,
            }
            for report in reports
        ],
        "written": outcome is not None,
        **({"signatures": outcome.signatures, "to_follow_by_hand": outcome.facade} if outcome else {}),
    }


def signatures(package: Path) -> dict[str, str]:
    """List the public names of a generated package with their types, values or arguments."""
    found: dict[str, str] = {}
    for file in sorted([*package.glob("models/*.py"), *package.glob("api/**/*.py")]):
        if file.name == "__init__.py":
            continue
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            found |= dict(_signature(node, file.stem))
    return found


def changed_signatures(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Describe each signature that was added (+), removed (-) or changed (~)."""
    lines = []
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            lines.append(f"+ {name}{new[name]}")
        elif name not in new:
            lines.append(f"- {name}")
        elif old[name] != new[name]:
            lines.append(f"~ {name}{old[name]}  ->  {name}{new[name]}")
    return lines


def _signature(node: ast.stmt, module: str) -> Iterator[tuple[str, str]]:
    match node:
        case ast.ClassDef(name=name):
            yield name, ""
            fields = [line for line in node.body if isinstance(line, ast.AnnAssign)]
            types = {ast.unparse(field.target): ast.unparse(field.annotation) for field in fields}
            yield from ((f"{name}.{each}", f": {kind}") for each, kind in types.items() if each != _REST)
        case ast.AsyncFunctionDef(name="asyncio"):
            # The three variants of it have the same arguments.
            yield f"{module}.asyncio", f"({ast.unparse(node.args)})"
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript()):
            yield name, f" = {ast.unparse(node.value)}"
