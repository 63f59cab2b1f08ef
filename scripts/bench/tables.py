"""Tables as text: aligned for a terminal, or as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """A table of results.

    Attributes:
        title: What was measured.
        columns: Names of the columns. The first column holds names, the others figures.
        rows: Rows with one cell for each column.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def plain(table: Table) -> str:
    """Format for a terminal."""
    widths = [max(len(row[index]) for row in (table.columns, *table.rows)) for index in range(len(table.columns))]
    lines = [table.title]
    for row in (table.columns, *table.rows):
        first, *others = (
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([f"  {first}", *others]).rstrip())
    return "\n".join(lines)


def markdown(table: Table) -> str:
    """Format as Markdown."""
    lines = [f"**{table.title}**", ""]
    lines.append(_row(table.columns))
    lines.append(_row(["---"] + ["---:"] * (len(table.columns) - 1)))
    lines.extend(_row(row) for row in table.rows)
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def ratio(figure: float, to: float) -> str:
    """Format a ratio with two decimals."""
    return f"{figure / to:.2f}" if to else "-"
