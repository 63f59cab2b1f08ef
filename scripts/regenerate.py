"""Generate the low-level client in generated/aimlapi_rest from the schemas in openapi/.

The same input gives the same bytes: the generator and the formatter are pinned in the `generate` extra of
pyproject.toml, run from the environment of this interpreter (never from PATH), and ignore settings outside
this repository. Run it as `make generate`; `--check` (`make check-generated`) writes nothing and fails
if generated/ is out of date.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from schema_tools import SchemaError
from schema_tools.generator import PACKAGE, ROOT, RegenerationError, generate, install, report_drift
from schema_tools.overlay import OverlayError
from schema_tools.stored import schema_files


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Generate the low-level client in generated/ from openapi/.")
    parser.add_argument("--check", action="store_true", help="only compare: exit 1 if generated/ is out of date")
    parser.add_argument("--openapi", type=Path, default=ROOT / "openapi", help="folder of schemas (default: openapi/)")
    parser.add_argument("--output", type=Path, default=ROOT / "generated", help="folder to fill (default: generated/)")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            fresh = Path(scratch) / PACKAGE
            for note in generate(options.openapi, fresh):
                print(f"note: {note}")
            target = options.output / PACKAGE
            if options.check:
                return report_drift(fresh, target)
            install(fresh, target)
            print(f"{target} is generated from {', '.join(path.name for path in schema_files(options.openapi))}")
            return 0
    except (RegenerationError, SchemaError, OverlayError) as error:
        print(f"regenerate: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
