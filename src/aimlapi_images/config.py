"""Client defaults, environment variables and argument validation."""

import inspect
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx

from aimlapi_images.errors import InvalidRequestError

DEFAULT_BASE_URL: Final = "https://api.aimlapi.com"
KEY_VARIABLES: Final = ("AIMLAPI_API_KEY", "AIML_API_KEY")
BASE_URL_VARIABLES: Final = ("AIMLAPI_API_BASE", "AIML_API_BASE")

# `<YOUR_API_KEY>`, `${AIMLAPI_API_KEY}`, `your-key-here`
_PLACEHOLDER: Final = re.compile(r"[<>${}]|^your[-_ ]", re.IGNORECASE)

# A generation takes about 26 s, and minutes at high quality. The throttle queues requests, so the pool never does.
DEFAULT_TIMEOUT: Final = httpx.Timeout(connect=10.0, read=300.0, write=60.0, pool=None)

# Idle connections are closed long before a server would close them: a request sent on a connection that is just
# being closed has an unknown outcome, which costs more than a new connection. Some servers close after a second.
KEEPALIVE_SECONDS: Final = 0.5
MAX_IDLE_CONNECTIONS: Final = 20


def find_api_key(api_key: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """Return the key given, or the first one set in the environment. An error never contains the key."""
    if not isinstance(api_key, str | None):
        raise InvalidRequestError(f"api_key must be a string, not {type(api_key).__name__}")
    key = _unquoted(api_key) if api_key is not None else _first(KEY_VARIABLES, environment)
    if not key:
        raise InvalidRequestError(
            f"no API key: set {KEY_VARIABLES[0]} (or {KEY_VARIABLES[1]}), pass api_key, or try the "
            "emulator (aimlapi-images emulator, or aimlapi_images.emulator.serve() from Python)"
        )
    if _PLACEHOLDER.search(key):
        raise InvalidRequestError(f"the API key is a placeholder: set {KEY_VARIABLES[0]} to the key itself")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidRequestError("the API key contains spaces or characters that no key has: was it pasted whole?")
    return key


def find_base_url(base_url: str | None, environment: Mapping[str, str] = os.environ) -> httpx.URL:
    """Return the base URL given, the environment's, or the API's own, without a trailing `/v1`.

    Users of the OpenAI SDK write the base URL with `/v1`; the paths of the schema contain it as well.
    """
    if not isinstance(base_url, str | None) or base_url == "":
        raise InvalidRequestError(f"base_url must be a URL, not {base_url!r}; leave it out for {DEFAULT_BASE_URL}")
    text = _unquoted(base_url or _first(BASE_URL_VARIABLES, environment) or DEFAULT_BASE_URL)
    shown = repr(text) if "@" not in text and "?" not in text else "(not shown, it may contain a password)"
    url = parse_url(text)
    if url is not None and url.userinfo:
        raise InvalidRequestError("the base URL must not contain a user name or password; pass the key as api_key")
    if url is None or url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        form = "https:// (or http://) and a host, without a query or a fragment"
        raise InvalidRequestError(f"base URL {shown} is not valid: it must have {form}")
    return url.copy_with(path=url.path.rstrip("/").removesuffix("/v1") or "/")


def parse_url(text: str) -> httpx.URL | None:
    """Parse a URL; `None` if it is invalid. The errors of the parsers below may contain a part of a password."""
    try:
        url = httpx.URL(text)
        url.host.encode()  # decodes an international name, which may be invalid
    except (httpx.InvalidURL, ValueError, IndexError):
        return None
    return url


def _first(names: tuple[str, ...], environment: Mapping[str, str]) -> str | None:
    return next((value for name in names if (value := _unquoted(environment.get(name, "")))), None)


def _unquoted(value: str) -> str:
    """A value without spaces and the quotes around it, which `.env` files and shells leave there."""
    value = value.strip()
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1].strip() if quoted else value


def timeouts(timeout: float | httpx.Timeout) -> httpx.Timeout:
    """Expand one number of seconds to a limit for each kind of wait."""
    if isinstance(timeout, httpx.Timeout):
        return timeout
    positive("timeout", timeout)
    return httpx.Timeout(timeout, connect=min(timeout, DEFAULT_TIMEOUT.connect or timeout), pool=None)


def positive(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise InvalidRequestError(f"{name} must be a number greater than 0, not {value!r}")


def not_negative(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise InvalidRequestError(f"{name} must be a number, 0 or more, not {value!r}")


def whole_number(name: str, value: Any, *, at_least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise InvalidRequestError(f"{name} must be a whole number, {at_least} or more, not {value!r}")


def async_function(name: str, value: Any) -> None:
    """Require an async function, or an object called like one. What a lambda returns is checked when it is called."""
    if callable(value):
        function = inspect.unwrap(value)
        if any(map(inspect.iscoroutinefunction, (function, getattr(function, "__call__", None)))):  # noqa: B004
            return
        if getattr(function, "__name__", "") == "<lambda>":
            return
    raise InvalidRequestError(f"{name} must be an async function (async def), not {value!r}")


def instance_of(kind: type) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, kind):
            article = "an" if kind.__name__[0] in "AEIO" else "a"
            raise InvalidRequestError(f"{name} must be {article} {kind.__name__}, not {value!r}")

    return check


def one_of(*choices: str) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if value not in choices:
            raise InvalidRequestError(f"{name} must be {' or '.join(map(repr, choices))}, not {value!r}")

    return check


def optional(check: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
    """The same check, but `None` passes."""
    return lambda name, value: None if value is None else check(name, value)


def rule(check: Callable[[str, Any], None]) -> Callable[[Any, Any, Any], None]:
    """An attrs validator from one of the checks above, which raise errors of this package."""
    return lambda _, attribute, value: check(attribute.name, value)
