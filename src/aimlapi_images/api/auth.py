"""Who we are and whom we talk to: the API key, and the one origin that it is sent to."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import warnings
from collections.abc import Generator, Mapping
from typing import Final, Never

import httpx

from aimlapi_images.api.ssrf import is_public
from aimlapi_images.errors import InvalidRequestError

DEFAULT_BASE_URL: Final = "https://api.aimlapi.com"
KEY_VARIABLES: Final = ("AIMLAPI_API_KEY", "AIML_API_KEY")
_SHORTEST_SECRET: Final = 16
BASE_URL_VARIABLES: Final = ("AIMLAPI_API_BASE", "AIML_API_BASE")


def find_api_key(api_key: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """The key given, or the first one that the environment has.

    Raises:
        InvalidRequestError: There is none, or it cannot be a key. The message does not show it.
    """
    key = (api_key if api_key is not None else _first(KEY_VARIABLES, environment) or "").strip()
    if not key:
        raise InvalidRequestError(
            f"no API key: set {KEY_VARIABLES[0]} (or {KEY_VARIABLES[1]}), pass api_key, or try the emulator"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidRequestError("the API key has spaces or letters that no key has: was it pasted whole?")
    return key


def find_base_url(base_url: str | None, environment: Mapping[str, str] = os.environ) -> httpx.URL:
    """The base URL given, or the environment's, or the API's own; without a `/v1` at its end.

    Users of the OpenAI SDK write the base URL with `/v1`; the paths of the schema have it too.

    Raises:
        InvalidRequestError: It is not an http or https URL with a host, or has a password in it.
    """
    text = (base_url or _first(BASE_URL_VARIABLES, environment) or DEFAULT_BASE_URL).strip()
    shown = repr(text) if "@" not in text and "?" not in text else "(not shown: there may be a password in it)"
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise InvalidRequestError(f"base URL {shown} is not a URL") from error
    if url.userinfo:
        raise InvalidRequestError("the base URL has a user name or password in it; the key goes into api_key")
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidRequestError(f"base URL {shown} has to begin with https:// (or http://) and a host")
    if url.query or url.fragment:
        raise InvalidRequestError(f"base URL {shown} has to end with its path: no query, no fragment")
    return url.copy_with(path=url.path.rstrip("/").removesuffix("/v1") or "/")


def warn_if_unencrypted(base_url: httpx.URL, *, stacklevel: int) -> None:
    """Warn that a key goes over plain http, unless it stays on this machine or in a private network."""
    host = base_url.host.rstrip(".")
    try:
        private = not is_public(ipaddress.ip_address(host))
    except ValueError:
        private = "." not in host or host.endswith((".localhost", ".local"))
    if base_url.scheme == "http" and not private:
        message = f"the API key goes to {host} unencrypted, for all on the way to read: use https, if that can be"
        warnings.warn(message, stacklevel=stacklevel + 1)


class BearerAuth(httpx.Auth):
    """Adds the key to requests to one origin, and to no others, wherever a redirect leads."""

    def __init__(self, api_key: str, base_url: httpx.URL) -> None:
        self._secret = api_key
        self._origin = origin(base_url)
        self._repeated = _spellings(api_key)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if origin(request.url) == self._origin:
            request.headers["Authorization"] = f"Bearer {self._secret}"
        else:
            request.headers.pop("Authorization", None)
        yield request

    def redact(self, text: bytes) -> bytes:
        """Blank out the key where a server repeats it: as it is, or escaped as in JSON or in a URL."""
        if len(self._secret) < _SHORTEST_SECRET:
            return text  # no real key, and likely to be a part of something else
        return self._repeated.sub(b"[API key]", text)

    def __repr__(self) -> str:
        return "BearerAuth([API key])"

    def __reduce__(self) -> Never:
        raise TypeError("a client holds an API key and open connections, and cannot be pickled: make one per process")


class KeyFilter(logging.Filter):
    """Blanks out the key in log records of the HTTP library: at DEBUG, it logs headers that a server sends back.

    Args:
        auth: Knows the key.
    """

    def __init__(self, auth: BearerAuth) -> None:
        super().__init__()
        self._auth = auth

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = self._auth.redact(record.getMessage().encode("utf-8", "surrogateescape")).decode(
            "utf-8", "surrogateescape"
        )
        record.args = ()
        return True


def origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """What decides whether two URLs belong to one server: scheme, host and port."""
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _spellings(secret: str) -> re.Pattern[bytes]:
    r"""What finds a secret whose characters may each be written as `/`, `\/`, `\u002f` or `%2F`."""
    # A few backslashes: a log shows each as two. Not any number, which would take long to search for.
    return re.compile(
        b"".join(
            rb"(?:\\{0,4}(?:%b|u(?i:%04x))|%%(?i:%02x))" % (re.escape(bytes([each])), each, each)
            for each in secret.encode("ascii")
        )
    )


def _first(names: tuple[str, ...], environment: Mapping[str, str]) -> str | None:
    return next((value for name in names if (value := environment.get(name, "").strip())), None)
