"""Differences between two versions of a schema, as users of the client see them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, Literal

import attrs
from jsonschema import Draft4Validator

from schema_tools import Document
from schema_tools.merge import bodies, operations

Kind = Literal["breaking", "additive", "documentation"]
KINDS: Final[tuple[Kind, ...]] = ("breaking", "additive", "documentation")


@attrs.frozen
class Change:
    """One difference.

    Attributes:
        kind: `breaking` if code that works today may fail or behave differently tomorrow.
        place: The field with `request` or `response`, or the operation.
        text: The difference in words.
    """

    kind: Kind
    place: str
    text: str


def compare(old: Document, new: Document) -> list[Change]:
    """List the differences between two repaired and corrected schemas, breaking ones first."""
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
    found += [Change("breaking", "servers", f"{url} is gone") for url in _servers(old) - _servers(new)]
    found += [Change("additive", "servers", f"{url} is new") for url in _servers(new) - _servers(old)]
    return sorted(dict.fromkeys(found), key=lambda change: (KINDS.index(change.kind), change.place, change.text))


def _servers(document: Document) -> set[str]:
    return {str(server.get("url")) for server in document.get("servers", [])}


def _operation(old: Document, new: Document, place: str) -> Iterator[Change]:
    if old.get("deprecated", False) != new.get("deprecated", False):
        yield Change("documentation", place, "is deprecated" if new.get("deprecated") else "is not deprecated any more")
    yield from _parameters(old, new)
    kinds_before, kinds_after = (list(each.get("requestBody", {}).get("content", {})) for each in (old, new))
    if kinds_before != kinds_after:
        text = f"is sent as {words(kinds_after)} instead of {words(kinds_before)}"
        yield Change("breaking", f"{place} request", text)
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
    """The schema of a successful response; the client treats 200 and 201 alike."""
    for status, answer in sorted(operation.get("responses", {}).items()):
        for media in answer.get("content", {}).values():
            if status.startswith("2") and "$ref" not in media.get("schema", {"$ref": ""}):
                schema: Document = media["schema"]
                return schema
    return None


# Raising an upper limit allows more; raising a lower limit allows less.
_UPPER: Final = ("maximum", "maxLength", "maxItems", "maxProperties")
_LOWER: Final = ("minimum", "minLength", "minItems", "minProperties")
_RULES: Final = ("pattern", "format", "multipleOf", "uniqueItems", "exclusiveMinimum", "exclusiveMaximum", "not")
_WORDS: Final = ("description", "title", "example", "deprecated", "readOnly", "writeOnly", "externalDocs")


@attrs.frozen
class Comparison:
    """Compares schemas of a request, or of a response."""

    side: Literal["request", "response"]

    def schema(self, old: Document, new: Document, place: str) -> Iterator[Change]:
        """Compare two schemas of any type."""
        yield from self._words(old, new, place)
        if (old.get("nullable") is True) != (new.get("nullable") is True):
            wider = new.get("nullable") is True
            yield self._change(wider, place, "may be null now" if wider else "may not be null any more")
        before, after = _branches(old), _branches(new)
        for kind in before.keys() - after.keys():
            if other := _wider_number(kind, after.keys() - before.keys()):
                yield self._change(other == "number", place, f"is {other} instead of {kind}")
                yield from self._plain(before[kind], after[other], place)
            elif len(before) == len(after) == 1:
                (other,) = after
                yield Change("breaking", self._at(place), f"is {other} instead of {kind}")
            else:
                yield self._change(False, place, f"may not be {kind} any more")
        for kind in after.keys() - before.keys():
            if not _wider_number(kind, before.keys() - after.keys()) and not len(before) == len(after) == 1:
                yield self._change(True, place, f"may be {kind} now")
        for kind in before.keys() & after.keys():
            yield from self._plain(before[kind], after[kind], place)

    def _plain(self, old: Document, new: Document, place: str) -> Iterator[Change]:
        """Compare two schemas of the same type."""
        yield from self._values(old, new, place)
        if "enum" not in old and "enum" not in new:
            yield from self._limits(old, new, place)
        yield from self._fields(old, new, place)
        if "items" in old or "items" in new:
            yield from self.schema(old.get("items", {}), new.get("items", {}), f"{place}[]")

    def _words(self, old: Document, new: Document, place: str) -> Iterator[Change]:
        for word in _WORDS:
            if old.get(word) != new.get(word):
                verb = "is new" if word not in old else "is gone" if word not in new else "reads otherwise"
                yield Change("documentation", self._at(place), f"{word} {verb}")
        one, other = old.get("x-api-default"), new.get("x-api-default")
        if str(one) == str(other):
            return
        if None in (one, other):
            text = f"default {_show(one)} is not documented any more" if other is None else f"default is {_show(other)}"
            yield Change("documentation", self._at(place), text)
        else:
            text = f"default is {_show(other)} instead of {_show(one)}: requests without it give something else"
            yield Change("breaking", self._at(place), text)

    def _values(self, old: Document, new: Document, place: str) -> Iterator[Change]:
        one, other = old.get("enum"), new.get("enum")
        if one is None and other is None:
            return
        if one is None:
            yield self._limit(False, place, f"has to be one of {words(map(_show, other or []))} now")
        elif other is None:
            allowed = Draft4Validator({key: value for key, value in new.items() if key in (*_UPPER, *_LOWER, *_RULES)})
            for value in one:
                if not allowed.is_valid(value):
                    yield self._limit(False, place, f"{_show(value)} is not allowed any more")
            yield self._limit(True, place, f"is not limited to {words(map(_show, one))} any more{_range(new)}")
        else:
            for value in one:
                if value not in other:
                    yield self._limit(False, place, f"{_show(value)} is not allowed any more")
            for value in other:
                if value not in one:
                    yield self._limit(True, place, f"{_show(value)} is allowed now")
            if one != other and sorted(map(_show, one)) == sorted(map(_show, other)):
                yield Change("documentation", self._at(place), "the values come in another order")

    def _limits(self, old: Document, new: Document, place: str) -> Iterator[Change]:
        for rule in (*_UPPER, *_LOWER):
            one, other = old.get(rule), new.get(rule)
            if one == other:
                continue
            wider = other is None or (one is not None and (other > one) == (rule in _UPPER))
            text = f"{rule} is {other} now" if one is None else f"{rule} was {one}"
            text = f"{rule} is {other} instead of {one}" if None not in (one, other) else text
            yield self._limit(wider, place, text + (", and is gone" if other is None else ""))
        for rule in _RULES:
            one, other = old.get(rule), new.get(rule)
            if (one or None) == (other or None):
                continue
            gone = not other
            yield self._limit(gone, place, f"{rule} {_show(one)} is gone" if gone else f"{rule} is {_show(other)} now")

    def _fields(self, old: Document, new: Document, place: str) -> Iterator[Change]:
        one, other = old.get("properties", {}), new.get("properties", {})
        required_before, required_after = set(old.get("required", [])), set(new.get("required", []))
        for name in one.keys() - other.keys():
            yield Change("breaking", self._at(_below(place, name)), "is gone")
        for name in other.keys() - one.keys():
            needed = name in required_after and self.side == "request"
            text = f"is new ({_type_words(other[name])}{', required' if needed else ''})"
            yield Change("breaking" if needed else "additive", self._at(_below(place, name)), text)
        for name in one.keys() & other.keys():
            if (name in required_before) != (name in required_after):
                always = name in required_after
                text = "is required now" if self.side == "request" else "is always there now"
                optional = "is optional now" if self.side == "request" else "may be absent now"
                yield self._change(not always, _below(place, name), text if always else optional)
            yield from self.schema(one[name], other[name], _below(place, name))
        closed_before, closed_after = (each.get("additionalProperties") is False for each in (old, new))
        if closed_before != closed_after:
            text = "takes no other fields any more" if closed_after else "takes other fields now"
            yield self._change(not closed_after, place, text)

    def _change(self, wider: bool, place: str, text: str) -> Change:
        """A wider request or a narrower response breaks nothing."""
        fits = wider if self.side == "request" else not wider
        return Change("additive" if fits else "breaking", self._at(place), text)

    def _limit(self, wider: bool, place: str, text: str) -> Change:
        """Limits of a response are not validated by the client."""
        if self.side == "request":
            return self._change(wider, place, text)
        return Change("additive" if wider else "documentation", self._at(place), text)

    def _at(self, place: str) -> str:
        return f"{self.side} {place}".rstrip()


def _branches(schema: Document) -> dict[str, Document]:
    """The alternatives of a schema, by type."""
    found: dict[str, Document] = {}
    for branch in schema.get("anyOf") or schema.get("oneOf") or [schema]:
        kind = _kind(branch)
        same = sum(each.partition(" ")[0] == kind for each in found)
        found[f"{kind} ({same + 1})" if same else kind] = branch
    return found


def _kind(schema: Document) -> str:
    if "type" in schema:
        return str(schema["type"])
    return "object" if "properties" in schema else "anything"


def _wider_number(kind: str, others: set[str]) -> str | None:
    """Return `number` for `integer` and vice versa, if it is among the others."""
    partner = {"integer": "number", "number": "integer"}.get(kind)
    return partner if partner in others else None


def _below(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _range(schema: Document) -> str:
    limits = [f"{rule} {schema[rule]}" for rule in (*_LOWER, *_UPPER) if rule in schema]
    return f" ({', '.join(limits)})" if limits else ""


def _type_words(schema: Document) -> str:
    values = f" of {words(map(_show, schema['enum']))}" if "enum" in schema else ""
    return " or ".join(_branches(schema)) + values


def words(values: Any) -> str:
    return ", ".join(values) or "nothing"


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
