"""Settings of a client: what they are if not given, and that they can be right."""

from __future__ import annotations

from typing import Final

import httpx

from aimlapi_images.errors import InvalidRequestError

# A generation takes about 26 s, and minutes at high quality. The pool never makes anyone wait: our queue does.
DEFAULT_TIMEOUT: Final = httpx.Timeout(connect=10.0, read=300.0, write=60.0, pool=None)


def timeouts(timeout: float | httpx.Timeout) -> httpx.Timeout:
    """What one number of seconds means for each kind of wait."""
    if isinstance(timeout, httpx.Timeout):
        return timeout
    seconds = positive("timeout", timeout)
    if seconds is None:
        raise InvalidRequestError("timeout is None, and nothing here waits without end")
    return httpx.Timeout(seconds, connect=min(seconds, DEFAULT_TIMEOUT.connect or seconds), pool=None)


def positive(name: str, value: float | None) -> float | None:
    """The value, if it is `None` or a number above 0."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise InvalidRequestError(f"{name} is {value!r}, and has to be more than 0")
    return value
