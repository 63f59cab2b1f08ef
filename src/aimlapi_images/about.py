"""The version of this package, how to install its extras, and how its folders load their public names."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

# Not read from the metadata, which frozen, vendored and zipped programs do not have.
VERSION: Final = "0.1.0"


def needs_extra(what: str, extra: str) -> str:
    """A message about a missing optional dependency. The package is in no index, so it is installed from its folder."""
    return f'{what} needs the extra "{extra}": in the project\'s folder, run pip install ".[{extra}]"'


def loader(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package, for public names that load from the modules in `homes` when first used."""

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name], package), name)

    return load
