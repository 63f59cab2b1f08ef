"""Repair of single schema keywords that are wrong, or in a form that the generator does not support."""

from __future__ import annotations

import itertools
import re
from typing import Any, Final

from jsonschema import Draft4Validator
from jsonschema.exceptions import UnknownType

from schema_tools import Document, Notes

_BRANCHES: Final = ("anyOf", "oneOf", "allOf")
_SAYS_NOTHING: Final = {"nullable", "description", "title", "example", "x-api-default"}
_A_FILE: Final = re.compile(r"\b(local|image|png) file", re.IGNORECASE)
_NUMBER: Final = (int, float)
_SHAPES: Final[dict[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(("enum", "anyOf", "oneOf", "allOf"), list),
    **dict.fromkeys(("properties", "items", "not", "discriminator"), dict),
    **dict.fromkeys(("title", "description", "format", "pattern"), str),
    **dict.fromkeys(("minimum", "maximum", "multipleOf"), _NUMBER),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), int),
    **dict.fromkeys(("nullable", "deprecated", "uniqueItems"), bool),
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), _NUMBER),
    "type": (str, list),
    "required": (list, bool),
    "additionalProperties": (dict, bool),
}


def drop_shapeless(schema: Document, place: str, notes: Notes) -> None:
    """Drop keywords whose value has the wrong type."""
    for keyword in [each for each in schema if each in _SHAPES]:
        value: Any = schema[keyword]
        names = value if isinstance(value, list) and keyword in ("type", "required") else []
        if not isinstance(value, _SHAPES[keyword]) or not all(isinstance(each, str) for each in names):
            del schema[keyword]
            # `items: true` is valid JSON Schema and allows anything.
            if value is not None and not (keyword == "items" and value is True):
                notes.append(f"{place} has {value!r} as its {keyword}, which is left out")


def modernize(schema: Document) -> Document:
    """Translate keywords of OpenAPI 3.1 and JSON Schema to OpenAPI 3.0."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kinds = [each for each in kind if each != "null"]
        if len(kinds) < len(kind):
            schema["nullable"] = True
        del schema["type"]
        if len(kinds) == 1:
            schema["type"] = kinds[0]
        elif kinds:
            schema["anyOf"] = [{"type": each} for each in kinds]
    elif kind == "null":
        del schema["type"]
        schema["nullable"] = True
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        limit = schema.get(exclusive)
        if isinstance(limit, int | float) and not isinstance(limit, bool):
            schema[bound], schema[exclusive] = limit, True
    for unknown in ("examples", "$schema", "$id"):
        schema.pop(unknown, None)
    return schema


def tidy_branches(schema: Document) -> None:
    """Drop branches that allow anything: they would make the other branches meaningless."""
    for key in _BRANCHES:
        branches = schema.get(key)
        if not isinstance(branches, list):
            continue
        kept: list[Document] = [branch for branch in branches if branch.keys() - _SAYS_NOTHING]
        if any(branch.get("nullable") for branch in branches) and key != "allOf":
            schema["nullable"] = True
        kept = [branch for number, branch in enumerate(kept) if branch not in kept[:number]]
        del schema[key]
        if len(kept) == 1:
            for name, value in kept[0].items():
                schema.setdefault(name, value)
        elif key == "allOf" and all(branch.get("type", "object") == "object" for branch in kept):
            _join(schema, kept)
        elif kept:
            schema[key] = kept
    if schema.get("nullable") and not schema.keys() - _SAYS_NOTHING:
        del schema["nullable"]


def _join(schema: Document, branches: list[Document]) -> None:
    """Merge the object schemas of an `allOf` into one."""
    own: Document = {key: schema.pop(key) for key in ("properties", "required") if key in schema}
    for branch in [own, *branches]:
        schema.setdefault("type", "object")
        schema.setdefault("properties", {}).update(branch.get("properties", {}))
        if required := [*schema.get("required", []), *branch.get("required", [])]:
            schema["required"] = list(dict.fromkeys(required))


def tidy_enum(schema: Document, place: str, notes: Notes) -> None:
    """Give an enumeration one type, drop duplicates, and turn `null` into `nullable`."""
    values = schema.get("enum")
    if not isinstance(values, list):
        return
    if None in values:
        schema["nullable"] = True
    kept = [value for number, value in enumerate(values) if value is not None and not _among(value, values[:number])]
    types = {_type_of(value) for value in kept}
    del schema["enum"]
    said = schema.get("type")
    if said and types and not types <= ({"integer", "number"} if said == "number" else {said}):
        notes.append(f"{place} is documented as {said}, and its values are not: they are taken")
    if not kept:
        notes.append(f"{place} has a list of values without a value: any is taken")
    elif types == {"string"}:
        schema |= {"enum": kept, "type": "string"}
    elif types == {"integer"}:
        schema |= {"enum": [int(value) for value in kept], "type": "integer"}
    elif types == {"boolean"}:
        # The generator does not support literals of booleans.
        schema["type"] = "boolean"
        if len(kept) == 1:
            schema["not"] = {"enum": [not kept[0]], "description": f"has to be {str(kept[0]).lower()}"}
    elif types == {"string", "integer"}:
        schema.pop("type", None)
        groups = itertools.groupby(sorted(kept, key=_type_of), _type_of)
        schema["anyOf"] = [{"type": kind, "enum": list(group)} for kind, group in groups]
    else:
        schema.pop("type", None)
        words = ", ".join(map(repr, kept))
        schema["not"] = {"not": {"enum": kept}, "description": f"has to be one of {words}"}
        notes.append(f"{place} has values that are no literals in Python ({kept}): the client's type is Any")


def tidy_default(schema: Document, place: str, notes: Notes, *, keep: bool) -> None:
    """Move the default to `x-api-default`.

    The generator would send every default with every request, which freezes today's defaults in old clients. A
    field that is not sent is left to the API. The emulator and the command's help read the annotation.
    """
    if "default" not in schema:
        return
    default = schema.pop("default")
    if not keep or default is None:
        return
    fitting = _fitting(schema, default)
    if fitting is None:
        notes.append(f"{place} has the default {default!r}, which its own schema forbids: it is left out")
    else:
        schema["x-api-default"] = fitting


def _fitting(schema: Document, default: Any) -> Any:
    """Convert the default to the type of its schema; `None` if that is impossible."""
    rules = {key: value for key, value in schema.items() if key in ("type", "enum", "minimum", "maximum", *_BRANCHES)}
    tries = [default]
    if isinstance(default, str):
        tries += [int(default)] if default.lstrip("-").isdecimal() else []
        tries += [default == "true"] if default in ("true", "false") else []
    elif isinstance(default, int | float):
        tries += [str(default)]
    return next((each for each in tries if not _forbids(rules, each)), None)


def _forbids(rules: Document, value: Any) -> bool:
    try:
        return not Draft4Validator(rules).is_valid(value)
    except UnknownType:
        return False  # reported by the validation of the whole document


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, float) and value.is_integer():
        return "integer"
    return {str: "string", int: "integer", float: "number"}.get(type(value), "object")


def _among(value: Any, values: list[Any]) -> bool:
    return any(value == other and _type_of(value) == _type_of(other) for other in values)


def is_file(schema: Document, about: str) -> bool:
    """Whether a schema describes an uploaded file: the publisher's server-side object, or an object called a file."""
    if schema.get("type") != "object":
        return False
    fields = schema.get("properties")
    if not fields:
        return _A_FILE.search(about) is not None
    return isinstance(fields, dict) and "buffer" in fields and bool({"mimetype", "originalname"} & fields.keys())


def has_file(node: object) -> bool:
    if isinstance(node, dict):
        return node.get("format") == "binary" or any(map(has_file, node.values()))
    return isinstance(node, list) and any(map(has_file, node))


def without_files(node: Any) -> Any:
    if isinstance(node, dict):
        text = {key: without_files(value) for key, value in node.items()}
        return {key: value for key, value in text.items() if (key, value) != ("format", "binary")}
    return [without_files(value) for value in node] if isinstance(node, list) else node
