"""What the facade in src/ takes from the schema by hand, and what of that a changed schema makes wrong."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from schema_tools import Document
from schema_tools.generator import FIELDS, PACKAGE, PRIMARY
from schema_tools.report import signatures

# Arguments of `ImageClient.generate` that are not fields of the request.
NO_FIELDS: Final = ("self", "options", "extra_body", "to", "overwrite", "deadline", "order")
# Fields that the facade refuses to send, whatever the schema says.
REFUSED: Final = ("stream", "partial_images")
# The fields of responses that these modules of the facade read, with the types that they understand.
READ: Final[Mapping[str, Mapping[str, Mapping[str, str]]]] = {
    "media/image_finder.py": {
        "ImageGenerationResponse": {
            "data": "array",
            "data[].b64_json": "string",
            "data[].url": "string",
            "data[].revised_prompt": "string",
        },
    },
    "api/response_parser.py": {
        "ImageGenerationResponse": {
            "meta": "object",
            "meta.usage": "object",
            "meta.usage.credits_used": "number",
            "meta.usage.usd_spent": "number",
        },
        "ErrorResponse": {
            "message": "string",
            "requestId": "string",
            "meta": "array",
            "meta[].message": "string",
            "error": "object",
            "error.message": "string",
            "error.code": "string",
        },
    },
    "api/account.py": {
        "Billing": {"current_balance": "number", "currency": "string"},
        "RequestLog": {
            "data": "array",
            "data[].created": "string or number",
            "data[].cost": "object",
            "data[].cost.usd": "number",
            "data[].cost.credits": "number",
            "data[].tokens": "object",
            **dict.fromkeys(("data[].status", "data[].origin", "data[].model"), "string"),
            **dict.fromkeys(("data[].request_id", "data[].inference_id", "data[].client_request_id"), "string"),
            "pagination": "object",
            "pagination.total": "integer",
            "pagination.has_more": "boolean",
        },
    },
}


def follow_up(root: Path, package: Path) -> list[str]:
    """List what to change by hand in the facade and in its documentation.

    That is missing and surplus arguments, imported names that are gone, fields of responses that are gone or have
    another type than the facade reads, and values in examples that are not allowed any more.

    Args:
        root: The root of the repository.
        package: The generated package.
    """
    facade = root / "src" / "aimlapi_images"
    known = signatures(package)
    document = json.loads((package / "openapi.json").read_text(encoding="utf-8"))
    types = [line.partition(":")[0] for line in (package / f"{FIELDS}.py").read_text(encoding="utf-8").splitlines()]
    lines = [
        f"{file.name} imports {name}, which is gone"
        for file in sorted(facade.rglob("*.py"))
        for name in _imported_names(file)
        if name not in known and name not in types
    ]
    arguments = _arguments(facade / "client.py", "generate")
    fields = {name.partition(".")[2]: kind for name, kind in known.items() if name.startswith(f"{PRIMARY}.")}
    single = {name for name, kind in fields.items() if "," not in known.get(kind.strip(": ").split()[0], ",")}
    if missing := sorted(fields.keys() - arguments - single - set(REFUSED)):
        lines.append(f"ImageClient.generate has no argument for {', '.join(missing)}: until then, options= carries it")
    if surplus := sorted(arguments - fields.keys() - set(NO_FIELDS)):
        lines.append(f"ImageClient.generate has an argument for {', '.join(surplus)}, which is no field any more")
    return [*lines, *_unread(document), *_wrong_examples(root, document)]


def _unread(document: Document) -> Iterator[str]:
    """Fields that the facade reads, and that it does not understand any more."""
    for module, responses in READ.items():
        for response, fields in responses.items():
            for place, understood in fields.items():
                kinds = _types(document, response, place)
                if kinds is None:
                    yield f"{module} reads {place} of {response}, which is gone"
                elif other := sorted(kinds - {*understood.split(" or ")} - {*_INTEGER.get(understood, ())}):
                    yield f"{module} reads {place} of {response} as {understood}, and it may be {', '.join(other)} now"


def _wrong_examples(root: Path, document: Document) -> Iterator[str]:
    """Values in the examples of the documentation that the default model does not take."""
    fields = document["components"]["schemas"][PRIMARY]["properties"]
    for page in (root / "README.md", *sorted((root / "docs").glob("*.md"))):
        for name, value in dict.fromkeys(re.findall(r'\b(\w+)="([^"]*)"', page.read_text(encoding="utf-8"))):
            values = fields.get(name, {}).get("enum", [value])
            if name != "model" and value not in values:
                yield f"{page.name} has {name}={json.dumps(value)}, which is not allowed any more"


_INTEGER: Final = {"number": ("integer",)}


def _types(document: Document, response: str, place: str) -> set[str] | None:
    """The types of a field of a response, or `None` if there is none."""
    found = document.get("components", {}).get("schemas", {}).get(response, {})
    for step in place.split("."):
        found = found.get("properties", {}).get(step.removesuffix("[]"))
        if found is None:
            return None
        if step.endswith("[]"):
            found = found.get("items", {})
    branches = found.get("anyOf") or found.get("oneOf") or [found]
    return {str(branch.get("type", "anything")) for branch in branches}


def _imported_names(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in (f"{PACKAGE}.models", f"{PACKAGE}.{FIELDS}"):
            yield from (alias.name for alias in node.names)


def _arguments(file: Path, method: str) -> set[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.AsyncFunctionDef) and node.name == method:
            return {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
    return set()
