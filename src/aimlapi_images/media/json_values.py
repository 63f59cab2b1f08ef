"""JSON as it comes from others: what is not of the wanted kind is nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def mapping(value: object) -> Mapping[str, Any]:
    """The object, or an empty one."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> list[Any]:
    """The array, or an empty one."""
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    """The string without white space around it, or an empty one."""
    return value.strip() if isinstance(value, str) else ""


def number(value: object) -> float | None:
    """The number, be it written as one or as a string; `None` for what is none, or not finite."""
    if isinstance(value, bool):
        return None
    try:
        found = float(value)  # type: ignore[arg-type]  # what is no number is caught
    except (TypeError, ValueError, OverflowError):
        return None
    return found if abs(found) < float("inf") else None
