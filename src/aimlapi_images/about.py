"""The version of this package, and how to install its extras."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """The version of this package; `unknown` in a program that was packed without its metadata."""
    try:
        return version("aimlapi-images")
    except PackageNotFoundError:
        return "unknown"


def needs_extra(what: str, extra: str) -> str:
    """A message about a missing optional dependency. The package is in no index, so it is installed from its folder."""
    return f'{what} needs the extra "{extra}": in the project\'s folder, run pip install ".[{extra}]"'
