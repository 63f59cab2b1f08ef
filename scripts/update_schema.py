"""Compare the stored schemas with what AI/ML API publishes now, and store the changes.

    make schema                                   compare every stored schema with the page it came from
    make schema SOURCE=page.md                    compare one with a page, a JSON or YAML file, a URL, or -
    make schema SOURCE=page.md ARGS=--write       ... then store it and regenerate generated/
    make schema SOURCE=https://… ARGS=--add       store the schema of another model

Exit codes: 0 nothing changes for users (documentation at most), 1 additive changes, 2 breaking changes,
3 the source is unusable or gives no client; the stored files are then left as they are. 70 this script is at fault.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path
from typing import Final, NoReturn

from schema_tools import SchemaError
from schema_tools.generator import ROOT, RegenerationError
from schema_tools.overlay import OverlayError
from schema_tools.report import UNUSABLE, render
from schema_tools.source import SourceError
from schema_tools.update import Choice, add, compare_stored

USAGE: Final = 64  # EX_USAGE of sysexits.h
SOFTWARE: Final = 70  # EX_SOFTWARE: Python's own 1 would mean additive changes


class _Parser(argparse.ArgumentParser):
    """A parser that exits with 64 on a usage error: its default, 2, means breaking changes here."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def main(arguments: list[str] | None = None) -> int:
    parser = _Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="*", help="a page, a JSON or YAML file, a URL, or - (default: the stored URLs)")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--write", action="store_true", help="store the schema and regenerate generated/")
    action.add_argument("--add", action="store_true", help="store the schema of another model")
    parser.add_argument("--path", help="which schema to take if a source has several, such as /v1/images/generations")
    parser.add_argument("--model", help="which schema to take if a source has several for one path")
    parser.add_argument("--format", choices=("text", "markdown", "json"), default="text", help="of the report")
    parser.add_argument("--openapi", type=Path, default=ROOT / "openapi", help="folder of schemas (default: openapi/)")
    parser.add_argument("--output", type=Path, default=ROOT / "generated", help="folder to fill (default: generated/)")
    options = parser.parse_args(arguments)
    if options.add and not options.source:
        parser.error("--add needs a source")
    choice = Choice(path=options.path, model=options.model)
    try:
        if options.add:
            reports, outcome = add(options.openapi, options.output, options.source, choice)
        else:
            reports, outcome = compare_stored(
                options.openapi, options.output, options.source, choice, write=options.write
            )
    except (SourceError, SchemaError, OverlayError, RegenerationError) as error:
        print(f"update_schema: {error}", file=sys.stderr)
        return UNUSABLE
    print(render(reports, outcome, options.format))
    return max(report.code for report in reports)


if __name__ == "__main__":
    try:
        code = main()
    except Exception:
        traceback.print_exc()
        code = SOFTWARE
    sys.exit(code)
