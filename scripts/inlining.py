"""`$ref`s of a schema replaced by what they lead to, so that it stands alone and its components can go."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]


class SchemaError(ValueError):
    """A schema that cannot be made into a client. The message names the schema and the place in it."""


def inline(document: Document, node: Any, trail: tuple[str, ...] = ()) -> Any:
    """A copy of `node` without `$ref`s.

    Args:
        document: Where the references lead.
        node: Any part of the document.
        trail: The references that are being followed.

    Raises:
        SchemaError: A `$ref` leads nowhere, out of the document, or back to itself.
    """
    if isinstance(node, list):
        return [inline(document, entry, trail) for entry in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if not isinstance(reference, str):
        return {key: inline(document, value, trail) for key, value in node.items()}
    if reference in trail:
        raise SchemaError(f"a $ref leads back to itself: {reference}")
    target = inline(document, _follow(document, reference), (*trail, reference))
    # OpenAPI 3.0 ignores what stands beside a $ref; a description there is more to the point all the same.
    if isinstance(target, dict) and isinstance(node.get("description"), str):
        target = {**target, "description": node["description"]}
    return target


def _follow(document: Document, reference: str) -> Any:
    found: Any = document
    if reference != "#" and not reference.startswith("#/"):
        raise SchemaError(f"a $ref leads nowhere: {reference} is outside the document")
    for part in reference.removeprefix("#").split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or part not in found:
            raise SchemaError(f"a $ref leads nowhere: {reference}")
        found = found[part]
    return found
