"""Lenient readers for JSON values from a server: those of the wrong type read as missing. And values in messages."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

_JSON: Final = json.JSONDecoder(strict=False)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_ENCODED: Final = re.compile(r"[A-Za-z0-9+/=_-]{100,}")


def parsed(body: bytes | bytearray) -> object:
    """A body as JSON, or `None`. Broken UTF-8, control characters and text after an object or a list do not matter."""
    words = body.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    try:
        document, end = _JSON.raw_decode(words)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict | list) or not words[end:].strip() else None


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> list[Any]:
    """The value if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    """The value without surrounding white space if it is a string, else an empty one."""
    return value.strip() if isinstance(value, str) else ""


def number(value: object) -> float | None:
    """The value if it is a finite number or a string with one, else `None`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def shorten(foreign: str, longest: int = 200) -> str:
    """Foreign text for a message: on one line, without base64, and of at most so many characters."""
    shown = _ENCODED.sub(lambda found: f"<{len(found[0]):,} characters>", _CONTROL.sub(" ", foreign))
    return shown if len(shown) <= longest else f"{shown[: longest - 3]}..."


def shorten_url(url: str) -> str:
    """A URL for a message. A signed one, which may have 1,000 characters or more, stays usable."""
    return url if len(url) <= 2_000 else f"{url[:2_000]}..."


def shown(value: object) -> str:
    """A caller's value in a message, of at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
