"""Repair of the structural defects that the publisher's schemas share.

Corrections that can be expressed as data are in the overlay. The repairs here need to walk the whole schema:
references, two paths for one operation, defaults, empty branches, clashing titles, files described as objects.
A defect that cannot be repaired is left in place and reported in a note that names the place.
"""

from __future__ import annotations

import re
from typing import Any, Final

import attrs

from schema_tools import Document, Notes, SchemaError
from schema_tools.keywords import (
    drop_shapeless,
    has_file,
    is_file,
    modernize,
    tidy_branches,
    tidy_default,
    tidy_enum,
    without_files,
)

GENERATIONS: Final = "/v1/images/generations"
METHODS: Final = ("get", "put", "post", "delete", "patch")
_IMAGES: Final = re.compile(r"/images(/|$)")
_BINARY: Final = {"type": "string", "format": "binary"}


@attrs.define
class Normalized:
    """A repaired schema.

    Attributes:
        document: The paths, with all references resolved and without components.
        notes: Defects that could not be repaired, one line each.
    """

    document: Document
    notes: list[str] = attrs.field(factory=list)


def normalize(published: Document, name: str) -> Normalized:
    """Repair a published schema.

    Args:
        published: The schema. It is not modified.
        name: Its name in notes and errors.

    Raises:
        SchemaError: The document is not OpenAPI 3, describes no operation, or has a `$ref` that leads nowhere.
    """
    if not isinstance(published, dict) or not str(published.get("openapi", "")).startswith("3."):
        raise SchemaError(f"{name} is not an OpenAPI 3 document")
    notes: Notes = []
    try:
        paths = inline(published, published.get("paths", {}))
    except SchemaError as error:
        raise SchemaError(f"{name}: {error}") from error
    if not isinstance(paths, dict) or not any(isinstance(item, dict) and item for item in paths.values()):
        raise SchemaError(f"{name} describes no operation: it has no paths")
    paths = _one_path_each(paths, notes)
    for path, item in paths.items():
        for method in [key for key in item if key in METHODS]:
            place = f"{method.upper()} {path}"
            if not isinstance(item[method], dict):
                raise SchemaError(f"{name}: {place} is not an object")
            item[method] = _normalize_operation(item[method], path, method, place, notes)
            _check_body(item[method], f"{name}: {place}")
    kept = {key: value for key, value in published.items() if key in ("openapi", "info")}
    kept["servers"] = [
        each for each in _as_list(published.get("servers")) if isinstance(each, dict) and each.get("url")
    ]
    return Normalized({**kept, "paths": paths}, [f"{name}: {note}" for note in dict.fromkeys(notes)])


def _check_body(operation: Document, place: str) -> None:
    for media in operation.get("requestBody", {}).get("content", {}).values():
        if not isinstance(media["schema"].get("properties"), dict):
            raise SchemaError(f"{place}: the request is no object with fields, and cannot be checked")


def _one_path_each(paths: Document, notes: Notes) -> Document:
    """Drop the `/images/…` duplicates of `/v1/images/…`: the API serves both, and some schemas describe both."""
    kept: Document = {}
    for path, item in paths.items():
        if not isinstance(item, dict):
            raise SchemaError(f"{path} is not an object")
        full = path if path.startswith("/v1/") or not _IMAGES.match(path) else f"/v1{path}"
        if full != path and full in paths:
            for method in item.keys() & set(METHODS):
                other = paths[full].get(method)
                if other is None:
                    notes.append(f"{method.upper()} {path} has no counterpart at {full}, and is left out")
                elif _essence(other) != _essence(item[method]):
                    notes.append(f"{method.upper()} {path} differs from {full}, which is taken")
            continue
        kept[full] = dict(item)
    return kept


def _essence(operation: Any) -> Any:
    return (
        {key: operation.get(key) for key in ("requestBody", "responses")} if isinstance(operation, dict) else operation
    )


def _normalize_operation(operation: Document, path: str, method: str, place: str, notes: Notes) -> Document:
    normalized: Document = {
        # The overlay names the operations of known paths; others are named after their path.
        "operationId": "_".join([method, *re.findall(r"[a-z0-9]+", path.removeprefix("/v1").lower())]),
        "tags": ["images"],
        "responses": {},
    }
    kept = ("summary", "description", "deprecated")
    normalized |= {key: operation[key] for key in kept if key in operation}
    parameters = [
        parameter
        for parameter in _as_list(operation.get("parameters"))
        if isinstance(parameter, dict) and {"in", "name"} <= parameter.keys()
    ]
    if parameters:
        normalized["parameters"] = [
            {
                **parameter,
                "schema": normalize_schema(parameter.get("schema", {}), f"{place}: parameter", notes, request=True),
            }
            for parameter in parameters
        ]
    body = operation.get("requestBody")
    if isinstance(body, dict):
        normalized["requestBody"] = _normalize_body(body, f"{place}: request", notes, only_json=path == GENERATIONS)
    for status, answer in _objects(operation.get("responses"), f"{place}: responses").items():
        code = "200" if str(status).upper() in ("2XX", "DEFAULT") else str(status)
        if code in normalized["responses"] or not isinstance(answer, dict):
            notes.append(f"{place}: response {status} is left out")
            continue
        content = {
            kind.split(";")[0].strip(): {
                "schema": normalize_schema(_schema_of(media), f"{place}: response", notes, request=False)
            }
            for kind, media in _objects(answer.get("content"), f"{place}: response {status}").items()
        }
        normalized["responses"][code] = {key: answer[key] for key in ("description",) if key in answer}
        if content:
            normalized["responses"][code]["content"] = content
    if not any(code.startswith("2") for code in normalized["responses"]):
        normalized["responses"]["200"] = {}
    return normalized


def _normalize_body(body: Document, place: str, notes: Notes, *, only_json: bool) -> Document:
    content: Document = {}
    for media_type, media in _objects(body.get("content"), place).items():
        kind = media_type.split(";")[0].strip()
        schema = normalize_schema(_schema_of(media), place, notes, request=True, outermost=True)
        if kind == "application/json" and has_file(schema):
            if only_json:
                notes.append(f"{place} has a file, which this path does not take: it is sent as text")
                schema = without_files(schema)
            else:
                # JSON cannot carry a file, whatever the schema says.
                kind = "multipart/form-data"
        content[kind] = {"schema": schema}
    return {"required": True, "content": content}


def normalize_schema(
    schema: Any, place: str, notes: Notes, *, request: bool, outermost: bool = False, about: str = ""
) -> Document:
    """Repair one schema and everything in it.

    Args:
        schema: The schema, with references resolved.
        place: Its location, for notes.
        notes: Receives a line for each defect that cannot be repaired.
        request: Whether it is part of a request.
        outermost: Whether it is a whole body, whose title is kept.
        about: The nearest description above it.
    """
    if not isinstance(schema, dict):
        notes.append(f"{place} is {schema!r} in place of a schema, and is taken for anything")
        return {}
    normalized = {**schema}
    drop_shapeless(normalized, place, notes)
    modernize(normalized)
    about = str(normalized.get("description", about))
    if request and is_file(normalized, about):
        return {**_BINARY, **{key: normalized[key] for key in ("description",) if key in normalized}}
    if not outermost:
        # Two fields with the same title would become two classes with the same name.
        normalized.pop("title", None)
    normalized.pop("discriminator", None)  # its mapping refers to components, which are inlined

    def below(part: Any, name: str) -> Document:
        return normalize_schema(part, f"{place} {name}".rstrip(), notes, request=request, about=about)

    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(normalized.get(key), list):
            normalized[key] = [below(branch, "") for branch in normalized[key]]
    if isinstance(normalized.get("properties"), dict):
        fields = normalized["properties"]
        needed = [name for name, field in fields.items() if isinstance(field, dict) and field.get("required") is True]
        normalized["properties"] = {name: below(field, name) for name, field in fields.items()}
        if needed:
            normalized["required"] = list(dict.fromkeys([*_as_list(normalized.get("required")), *needed]))
    if not isinstance(normalized.get("required", []), list) or normalized.get("required") == []:
        del normalized["required"]
    if "items" in normalized or normalized.get("type") == "array":
        normalized["items"] = below(normalized.get("items", {}), "items")
    if isinstance(normalized.get("additionalProperties"), dict):
        normalized["additionalProperties"] = below(normalized["additionalProperties"], "additionalProperties")
    tidy_branches(normalized)
    tidy_enum(normalized, place, notes)
    tidy_default(normalized, place, notes, keep=request)
    return normalized


def _objects(value: Any, place: str) -> Document:
    """The value as an object; empty if it is missing."""
    if not isinstance(value or {}, dict):
        raise SchemaError(f"{place} is {value!r}, and has to be an object")
    return value or {}


def _schema_of(media: Any) -> Any:
    return (media.get("schema") or {}) if isinstance(media, dict) else media


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def inline(document: Document, node: Any, trail: tuple[str, ...] = ()) -> Any:
    """Copy a part of a document with its references resolved.

    Args:
        document: The document that references lead to.
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
    target = inline(document, follow(document, reference), (*trail, reference))
    # OpenAPI 3.0 ignores the siblings of a $ref, but a description there is more specific.
    if isinstance(target, dict) and isinstance(node.get("description"), str):
        target = {**target, "description": node["description"]}
    return target


def follow(document: Document, reference: str) -> Any:
    """Return the part of the document that a reference leads to.

    Raises:
        SchemaError: The reference leads nowhere, or out of the document.
    """
    found: Any = document
    if reference != "#" and not reference.startswith("#/"):
        raise SchemaError(f"a $ref leads nowhere: {reference} is outside the document")
    for part in reference.removeprefix("#").split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or part not in found:
            raise SchemaError(f"a $ref leads nowhere: {reference}")
        found = found[part]
    return found
