"""Combine the schemas of several models: one request for each model, one response for all of them."""

from __future__ import annotations

import copy
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Final

from schema_tools import Document, Notes, SchemaError
from schema_tools.normalize import GENERATIONS, METHODS

_JSON_SUCCESS: Final = ("200", "201")


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    """Yield the path, method and operation of each operation."""
    for path, item in document.get("paths", {}).items():
        for method, operation in item.items():
            if method in METHODS:
                yield path, method, operation


def bodies(operation: Document) -> Iterator[Document]:
    """Yield the schema of each content type of a request."""
    for media in operation.get("requestBody", {}).get("content", {}).values():
        if isinstance(media.get("schema"), dict):
            yield media["schema"]


def models_of(document: Document) -> tuple[str, ...]:
    """List the models that a schema describes, at any path."""
    found: dict[str, None] = {}
    for _, _, operation in operations(document):
        for body in bodies(operation):
            found |= dict.fromkeys(_models(body))
    return tuple(found)


def _models(body: Document) -> list[str]:
    values = body.get("properties", {}).get("model", {}).get("enum", [])
    return [value for value in values if isinstance(value, str)]


def follow_published(ours: Iterable[Document], published: Iterable[Document]) -> None:
    """Take type, values and limits of fields marked with `x-follows` from the published schema of the same model.

    The mark is the path of the published request. A field that is not published any more keeps its own.
    """
    requests = [
        (path, body) for each in published for path, _, operation in operations(each) for body in bodies(operation)
    ]
    for body in (body for document in ours for _, _, operation in operations(document) for body in bodies(operation)):
        models = set(_models(body))
        for name, field in body.get("properties", {}).items():
            for path, request in requests:
                if path == field.get("x-follows") and models & set(_models(request)) and name in request["properties"]:
                    own = {key: field[key] for key in ("description", "x-source", "x-follows") if key in field}
                    body["properties"][name] = {**copy.deepcopy(request["properties"][name]), **own}
                    if "x-api-default" not in field:
                        body["properties"][name].pop("x-api-default", None)


def name_requests(documents: list[Document]) -> None:
    """Give the request of each model a title, which becomes the name of its class.

    A request is named after its first model, such as `FluxSchnellRequest` for `flux/schnell`. The request of the
    first document keeps the title from the overlay.
    """
    taken: set[str] = set()
    for number, document in enumerate(documents):
        for path, _, operation in operations(document):
            for body in bodies(operation):
                models = _models(body)
                if not (number == 0 and path == GENERATIONS) and (models or "title" in body):
                    words = [*models[:1], *([] if path == GENERATIONS else [_tail(path)]), "request"]
                    body["title"] = _free("".join(map(pascal, words)), taken)
                if "title" in body:
                    taken.add(body["title"].lower())


def _tail(path: str) -> str:
    return path.removeprefix("/v1").removeprefix("/images").removeprefix("/generations")


def pascal(text: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in re.findall(r"[A-Za-z0-9]+", text))


def _free(name: str, taken: set[str]) -> str:
    """Add a number to a name that is taken: `gpt-1` and `gpt/1` would give the same class."""
    return next(
        each for each in (name, *(f"{name}{number}" for number in range(2, 10_000))) if each.lower() not in taken
    )


def share_responses(documents: dict[str, Document], notes: Notes) -> None:
    """Give each operation the same response in all documents, with the fields of all of them."""
    shared: dict[tuple[str, str], Document] = {}
    for name, document in documents.items():
        for path, method, operation in operations(document):
            for schema in _answers(operation):
                known = shared.get((path, method))
                place = f"{name}: response of {method.upper()} {path}"
                shared[path, method] = schema if known is None else blend(known, schema, place, notes)
    for document in documents.values():
        for path, method, operation in operations(document):
            for media in _answer_media(operation):
                if "$ref" not in media["schema"]:
                    media["schema"] = copy.deepcopy(shared[path, method])


def _answer_media(operation: Document) -> Iterator[Document]:
    for status in _JSON_SUCCESS:
        media = operation["responses"].get(status, {}).get("content", {}).get("application/json")
        if media and "schema" in media:
            yield media


def _answers(operation: Document) -> Iterator[Document]:
    yield from (media["schema"] for media in _answer_media(operation) if "$ref" not in media["schema"])


def blend(first: Document, second: Document, place: str, notes: Notes) -> Document:
    """Merge two response schemas into one that accepts what either accepts.

    If they contradict each other, the first one is used and a note is added.
    """
    if first == second:
        return first
    blended = {**second, **first}
    if first.get("nullable") or second.get("nullable"):
        blended["nullable"] = True
    kinds = {first.get("type"), second.get("type")}
    if kinds == {"integer", "number"}:
        blended["type"] = "number"
    elif len(kinds) == 2 and None not in kinds:
        notes.append(f"{place} is {second['type']}, and {first['type']} in another schema, which is taken")
        return first
    if "enum" in first and "enum" in second:
        blended["enum"] = [*first["enum"], *(value for value in second["enum"] if value not in first["enum"])]
    elif "enum" in blended:
        del blended["enum"]
    if "properties" in first and "properties" in second:
        ours, others = first["properties"], second["properties"]
        blended["properties"] = {
            name: blend(ours[name], others[name], f"{place} {name}", notes)
            if name in ours and name in others
            else ours.get(name, others.get(name))
            for name in [*ours, *(name for name in others if name not in ours)]
        }
    if "items" in first and "items" in second:
        blended["items"] = blend(first["items"], second["items"], f"{place} items", notes)
    # A field that one schema lacks may be absent.
    required = [name for name in first.get("required", []) if name in second.get("required", [])]
    blended.pop("required", None)
    return blended | ({"required": required} if required else {})


def join_requests(known: Document, new: Document, place: str, name: str, schemas: Document) -> None:
    """Add the request of another schema to an operation, with `model` as the discriminator.

    Args:
        known: The operation so far, which is modified.
        new: The same operation of another schema.
        place: The method and path, for errors.
        name: The name of the other schema.
        schemas: The components that the requests refer to.

    Raises:
        SchemaError: The requests have models in common or no models, or different content types.
    """
    old_content, new_content = (each.get("requestBody", {}).get("content", {}) for each in (known, new))
    if list(old_content) != list(new_content) or len(new_content) != 1:
        ways = " and ".join(", ".join(content) or "nothing" for content in (old_content, new_content))
        raise SchemaError(f"{name}: {place} is described by another schema already, and otherwise: {ways}")
    (old_media,), (new_media,) = old_content.values(), new_content.values()
    mapping = dict(old_media["schema"].get("discriminator", {}).get("mapping", {}))
    for schema in ([] if mapping else [old_media["schema"]]) + [new_media["schema"]]:
        reference: str = schema.get("$ref", "")
        models = _models(schemas.get(reference.rpartition("/")[2], {}))
        if not models:
            raise SchemaError(
                f"{name}: {place} is described by another schema already, and the two cannot be told apart: "
                f"{reference or 'a request'} names no models"
            )
        if twice := [model for model in models if model in mapping]:
            raise SchemaError(f"{name}: {place} for the model {', '.join(twice)} is described by another schema")
        mapping |= dict.fromkeys(models, reference)
    references = [{"$ref": reference} for reference in dict.fromkeys(mapping.values())]
    old_media["schema"] = {"oneOf": references, "discriminator": {"propertyName": "model", "mapping": mapping}}


def promote_titles(document: Document, name: str) -> Document:
    """Move titled request and response bodies to `components/schemas`, and refer to them.

    Raises:
        SchemaError: Two different bodies have the same title.
    """
    document = copy.deepcopy(document)
    components: Document = document.setdefault("components", {}).setdefault("schemas", {})
    for path, method, operation in operations(document):
        parts = [operation.get("requestBody", {}), *operation.get("responses", {}).values()]
        for media_type in (media for part in parts for media in part.get("content", {}).values()):
            schema = media_type.get("schema", {})
            title = schema.get("title")
            if title is None:
                continue
            if components.setdefault(title, schema) != schema:
                raise SchemaError(f"{name}: two different bodies are titled {title} (one of them at {method} {path})")
            media_type["schema"] = {"$ref": f"#/components/schemas/{title}"}
    return document


def merge(documents: Mapping[str, Document], published: Container[str] = ()) -> Document:
    """Merge documents into one.

    Args:
        documents: The documents by name.
        published: The names of documents that may describe the same operation, each for its own models.

    Raises:
        SchemaError: Two documents describe the same operation for the same models, or have different
            components with the same name.
    """
    merged: Document = {
        "openapi": "3.0.3",
        "info": {"title": "AI/ML API images", "version": "1.0.0"},
        "servers": [],
        "paths": {},
        "components": {},
    }
    of: dict[tuple[str, str], str] = {}
    for name, document in documents.items():
        for server in document.get("servers", []):
            if server not in merged["servers"]:
                merged["servers"].append(server)
        for kind, entries in document.get("components", {}).items():
            known = merged["components"].setdefault(kind, {})
            for key, entry in entries.items():
                if known.setdefault(key, entry) != entry:
                    raise SchemaError(f"{name}: components/{kind}/{key} differs from the one of another schema")
        for path, method, operation in operations(document):
            item = merged["paths"].setdefault(path, {})
            if method not in item:
                item[method] = copy.deepcopy(operation)
                of[path, method] = name
            elif name in published and of[path, method] in published:
                schemas = merged["components"].get("schemas", {})
                join_requests(item[method], operation, f"{method} {path}", name, schemas)
            else:
                raise SchemaError(f"{of[path, method]} and {name} both describe {method} {path}")
        for path, item in document.get("paths", {}).items():
            rest = {key: value for key, value in item.items() if key not in merged["paths"].get(path, {})}
            merged["paths"].setdefault(path, {}).update(rest)
    return merged
