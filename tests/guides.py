"""README and guides, and the blocks of code in them."""

from __future__ import annotations

import re
from typing import NamedTuple

from conftest import ROOT

README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """All blocks of README and guides, or those in these languages."""
    found = []
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for each in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            line = text.count("\n", 0, each.start()) + 1
            found.append(Block(path.relative_to(ROOT).as_posix(), line, each[1], each[2]))
    return [each for each in found if not languages or each.language in languages]


def block(text: str) -> Block:
    """The only Python block of README and guides that contains a text."""
    (found,) = (each for each in blocks("python") if text in each.text)
    return found
