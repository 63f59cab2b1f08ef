"""OpenAPI Overlay 1.0: corrections to a schema, expressed as data.

Specification: https://spec.openapis.org/overlay/v1.0.0.html. Targets are RFC 9535 JSONPath.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonpath
import yaml

from schema_tools import Document


class OverlayError(ValueError):
    """An overlay that violates the specification, or an action that cannot be applied."""


def read_overlay(folder: Path) -> Document:
    """Parse the overlay of a folder of schemas."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML has it
    overlay: Document = yaml.load((folder / "overlay.yaml").read_text(encoding="utf-8"), loader)  # noqa: S506 - both are safe
    return overlay


def apply_overlay(document: Document, overlay: Document) -> Document:
    """Apply every action of an overlay, in order.

    Args:
        document: The OpenAPI document. It is not modified.
        overlay: A parsed Overlay 1.0 document.

    Returns:
        The corrected document. An action whose target selects nothing changes nothing.

    Raises:
        OverlayError: The overlay is malformed, or an action does not fit what it selects.
    """
    corrected = copy.deepcopy(document)
    for number, action in enumerate(_actions(overlay), start=1):
        try:
            _apply_action(corrected, action)
        except (OverlayError, jsonpath.JSONPathError) as error:
            raise OverlayError(f"overlay action {number} ({action['target']}): {error}") from error
    return corrected


def _actions(overlay: Document) -> Iterator[Document]:
    if not str(overlay.get("overlay", "")).startswith("1.0."):
        raise OverlayError(f"not an Overlay 1.0 document: overlay is {overlay.get('overlay')!r}")
    actions = overlay.get("actions")
    if not isinstance(actions, list) or not actions:
        raise OverlayError("an overlay needs a list of actions with at least one entry")
    for number, action in enumerate(actions, start=1):
        if not isinstance(action, dict) or not isinstance(action.get("target"), str):
            raise OverlayError(f"overlay action {number} has no target")
        if unknown := [key for key in action if key not in _ACTION_KEYS and not key.startswith("x-")]:
            raise OverlayError(f"overlay action {number} has unknown keys: {', '.join(unknown)}")
        if not action.get("description"):
            raise OverlayError(f"overlay action {number} ({action['target']}) does not say why: no description")
        if ("update" in action) == (action.get("remove") is True):
            raise OverlayError(f"overlay action {number} ({action['target']}) needs either update or remove: true")
        yield action


_ACTION_KEYS = ("target", "description", "update", "remove")


def _apply_action(document: Document, action: Document) -> None:
    # A list, because the document changes during the loop.
    selected = list(jsonpath.finditer(action["target"], document, strict=True))
    if "update" in action:
        for match in selected:
            _update(match.obj, action["update"])
        return
    # Backwards, so that indexes into a list stay valid.
    for match in reversed(selected):
        if match.parent is None:
            raise OverlayError("the root of the document cannot be removed")
        parent: Any = match.parent.obj
        del parent[match.parts[-1]]


def _update(target: object, update: Any) -> None:
    if isinstance(target, list):
        target.append(copy.deepcopy(update))
    elif isinstance(target, dict) and isinstance(update, dict):
        _merge(target, update)
    else:
        raise OverlayError(f"update selects a {type(target).__name__}; it has to be an object or an array")


def _merge(target: Document, update: Document) -> None:
    for key, value in update.items():
        if not isinstance(key, str):
            raise OverlayError(f"the key {key!r} is not a string: quote it")
        existing = target.get(key)
        if isinstance(existing, dict) and isinstance(value, dict):
            _merge(existing, value)
        elif isinstance(existing, list) and isinstance(value, list):
            existing.extend(copy.deepcopy(value))
        else:
            target[key] = copy.deepcopy(value)
