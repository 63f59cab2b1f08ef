"""Settings of a client: what they are if not given, and that they can be right."""

from __future__ import annotations

import inspect
from types import UnionType
from typing import Final

import httpx

from aimlapi_images.errors import InvalidRequestError

# A generation takes about 26 s, and minutes at high quality. The pool never makes anyone wait: our queue does.
DEFAULT_TIMEOUT: Final = httpx.Timeout(connect=10.0, read=300.0, write=60.0, pool=None)


def timeouts(timeout: float | httpx.Timeout) -> httpx.Timeout:
    """What one number of seconds means for each kind of wait."""
    if isinstance(timeout, httpx.Timeout):
        return timeout
    if isinstance(timeout, bool) or not isinstance(timeout, int | float | None):
        raise InvalidRequestError(f"timeout is {timeout!r}, and has to be a number of seconds or an httpx.Timeout")
    seconds = positive("timeout", timeout)
    if seconds is None:
        raise InvalidRequestError("timeout is None, and nothing here waits without end")
    return httpx.Timeout(seconds, connect=min(seconds, DEFAULT_TIMEOUT.connect or seconds), pool=None)


def expect(name: str, value: object, kind: type | UnionType) -> None:
    """Check that an argument is of its kind, for a mistake to be told where it was made.

    Raises:
        InvalidRequestError: It is not.
    """
    if not isinstance(value, kind):
        kinds = kind.__args__ if isinstance(kind, UnionType) else (kind,)
        words = kinds[0].__name__
        raise InvalidRequestError(f"{name} is {value!r}, and has to be a {words}, as in {name}={words}(...)")


def expect_async(name: str, value: object) -> None:
    """Check that an argument is an async function, or an object that can be called as one.

    What a lambda gives is not known before it is called.

    Raises:
        InvalidRequestError: It is not.
    """
    if callable(value):
        function = inspect.unwrap(value)
        if any(map(inspect.iscoroutinefunction, (function, getattr(function, "__call__", None)))):  # noqa: B004
            return
        if getattr(function, "__name__", "") == "<lambda>":
            return
    raise InvalidRequestError(f"{name} is {value!r}, and has to be an async function: async def")


def positive(name: str, value: float | None) -> float | None:
    """The value, if it is `None` or a number above 0."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise InvalidRequestError(f"{name} is {value!r}, and has to be more than 0")
    return value
