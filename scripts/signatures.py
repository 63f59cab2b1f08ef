"""What callers see of a generated package, and of the facade where it has to follow by hand."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

# Arguments of `ImageClient.generate` that are no fields, and fields that go through `options`.
_NO_FIELDS: Final = ("self", "options", "to", "deadline", "order")
_IN_OPTIONS: Final = ("n",)
_REST: Final = "additional_properties"


def signatures(package: Path) -> dict[str, str]:
    """The public names of a generated package, each with its type, values or arguments."""
    found: dict[str, str] = {}
    for file in sorted([*package.glob("models/*.py"), *package.glob("api/**/*.py")]):
        if file.name == "__init__.py":
            continue
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            found |= dict(_signature(node, file.stem))
    return found


def changed_signatures(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """One line for each that came (+), went (-) or changed (~)."""
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
            # Its three sisters have the same arguments.
            yield f"{module}.asyncio", f"({ast.unparse(node.args)})"
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript()):
            yield name, f" = {ast.unparse(node.value)}"


def follow_up(facade: Path, package: Path, primary: str = "ImageGenerationRequest") -> list[str]:
    """What the hand-written facade lacks of a generated package, or takes from it in vain, one line each."""
    known = signatures(package)
    lines = [
        f"{file.name} imports {name}, which is gone"
        for file in sorted(facade.rglob("*.py"))
        for name in _imported_models(file)
        if name not in known
    ]
    arguments = _arguments(facade / "client.py", "generate")
    fields = {name.partition(".")[2] for name in known if name.startswith(f"{primary}.")}
    if missing := sorted(fields - arguments - set(_IN_OPTIONS)):
        lines.append(f"ImageClient.generate has no argument for {', '.join(missing)}: until then, options= carries it")
    if surplus := sorted(arguments - fields - set(_NO_FIELDS)):
        lines.append(f"ImageClient.generate has an argument for {', '.join(surplus)}, which is no field any more")
    return lines


def _imported_models(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "aimlapi_rest.models":
            yield from (alias.name for alias in node.names)


def _arguments(file: Path, method: str) -> set[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.AsyncFunctionDef) and node.name == method:
            return {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
    return set()
