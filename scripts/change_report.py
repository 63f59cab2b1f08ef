"""A comparison in words: as text, as Markdown for a change request, or as JSON."""

from __future__ import annotations

import json
from typing import Any, Final

import attrs

from field_changes import KINDS, Change, Kind

_HEADINGS: Final[dict[Kind, str]] = {
    "breaking": "Breaking for users",
    "additive": "Additive",
    "documentation": "Documentation only",
}
UNCHANGED, ADDITIVE, BREAKING, UNUSABLE = range(4)


@attrs.frozen(kw_only=True)
class Report:
    """What came of looking at one stored schema.

    Attributes:
        name: The stored file.
        source: What it was compared with.
        changes: How the source differs.
        notes: What in the source is not mended, or not supported.
        same: Whether the source is the stored schema, but for its layout.
        added: The models that the schema was added for, if it was not there before.
    """

    name: str
    source: str
    changes: list[Change]
    notes: list[str] = attrs.field(factory=list)
    same: bool = False
    added: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        """The exit code: what changes for users. Other words change nothing."""
        kinds = {change.kind for change in self.changes}
        return BREAKING if "breaking" in kinds else ADDITIVE if "additive" in kinds else UNCHANGED

    @property
    def verdict(self) -> str:
        """In one line."""
        if self.added:
            return f"added for {', '.join(self.added)}"
        counts = [(sum(change.kind == kind for change in self.changes), kind) for kind in KINDS]
        words = {"breaking": "breaking", "additive": "additive", "documentation": "in documentation only"}
        return ", ".join(f"{count} {words[kind]}" for count, kind in counts if count) or "unchanged"


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of writing.

    Attributes:
        signatures: Public signatures that changed.
        facade: What has to follow by hand.
        notes: What of all schemas is not mended or not used, each line beginning with the file's name.
    """

    signatures: list[str]
    facade: list[str]
    notes: list[str] = attrs.field(factory=list)


def render(reports: list[Report], outcome: Outcome | None, style: str) -> str:
    """The report in one of three styles: `text`, `markdown` or `json`."""
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
        parts += _section("Not mended, or not supported", report.notes, marks)
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
