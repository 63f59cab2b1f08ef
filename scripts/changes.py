"""How one document differs from another, as the users of the client see it: breaking, additive, or words alone."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from families import bodies, operations
from field_changes import KINDS, Change, Comparison, words
from inlining import Document


def compare(old: Document, new: Document) -> list[Change]:
    """The differences between two mended and corrected schemas, breaking ones first."""
    before = {(path, method): operation for path, method, operation in operations(old)}
    after = {(path, method): operation for path, method, operation in operations(new)}
    found: list[Change] = []
    for path, method in before.keys() | after.keys():
        place = f"{method.upper()} {path}"
        if (path, method) not in after:
            found.append(Change("breaking", place, "is gone"))
        elif (path, method) not in before:
            found.append(Change("additive", place, "is new"))
        else:
            found += _operation(before[path, method], after[path, method], place)
    for url in _servers(old) - _servers(new):
        found.append(Change("breaking", "servers", f"{url} is gone"))
    for url in _servers(new) - _servers(old):
        found.append(Change("additive", "servers", f"{url} is new"))
    return sorted(dict.fromkeys(found), key=lambda change: (KINDS.index(change.kind), change.place, change.text))


def _servers(document: Document) -> set[str]:
    return {str(server.get("url")) for server in document.get("servers", [])}


def _operation(old: Document, new: Document, place: str) -> Iterator[Change]:
    if old.get("deprecated", False) != new.get("deprecated", False):
        yield Change("documentation", place, "is deprecated" if new.get("deprecated") else "is not deprecated any more")
    yield from _parameters(old, new)
    kinds_before, kinds_after = (list(each.get("requestBody", {}).get("content", {})) for each in (old, new))
    if kinds_before != kinds_after:
        yield Change(
            "breaking", f"{place} request", f"is sent as {words(kinds_after)} instead of {words(kinds_before)}"
        )
    else:
        for before, after in zip(bodies(old), bodies(new), strict=True):
            yield from Comparison("request").schema(before, after, "")
    answered, answers = _answer(old), _answer(new)
    if answered is not None and answers is not None:
        yield from Comparison("response").schema(answered, answers, "")
    elif answered is not None:
        yield Change("breaking", "response", "is gone")
    elif answers is not None:
        yield Change("additive", "response", "is new")


def _parameters(old: Document, new: Document) -> Iterator[Change]:
    before, after = ({(p["in"], p["name"]): p for p in each.get("parameters", [])} for each in (old, new))
    for where, name in before.keys() - after.keys():
        yield Change("breaking", f"{where} {name}", "is gone")
    for where, name in after.keys() - before.keys():
        needed = bool(after[where, name].get("required"))
        yield Change("breaking" if needed else "additive", f"{where} {name}", f"is new{' and required' * needed}")
    for where, name in before.keys() & after.keys():
        one, other = before[where, name], after[where, name]
        if bool(one.get("required")) != bool(other.get("required")):
            needed = bool(other.get("required"))
            text = "is required now" if needed else "is optional now"
            yield Change("breaking" if needed else "additive", f"{where} {name}", text)
        for change in Comparison("request").schema(one.get("schema", {}), other.get("schema", {}), name):
            yield attrs.evolve(change, place=f"{where} {name}")


def _answer(operation: Document) -> Document | None:
    """What success answers with; 200 and 201 are one to the client."""
    for status, answer in sorted(operation.get("responses", {}).items()):
        for media in answer.get("content", {}).values():
            if status.startswith("2") and "$ref" not in media.get("schema", {"$ref": ""}):
                schema: Document = media["schema"]
                return schema
    return None
