"""The version of this package, and how to install its extras."""

from __future__ import annotations

from typing import Final

# Not read from the metadata, which frozen, vendored and zipped programs do not have.
VERSION: Final = "0.1.0"


def needs_extra(what: str, extra: str) -> str:
    """A message about a missing optional dependency. The package is in no index, so it is installed from its folder."""
    return f'{what} needs the extra "{extra}": in the project\'s folder, run pip install ".[{extra}]"'
