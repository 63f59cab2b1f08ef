"""The two HTTP clients of an `ImageClient`: one for the API, and one without the key for image hosts."""

import asyncio
import ipaddress
import os
import platform
import re
import ssl
import warnings
from collections.abc import Mapping
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx

from aimlapi_images.about import VERSION
from aimlapi_images.api.auth import BearerAuth
from aimlapi_images.api.ssrf import is_public
from aimlapi_images.config import MAX_IDLE_CONNECTIONS, find_api_key, find_base_url, timeouts
from aimlapi_images.errors import InvalidRequestError

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PROXY_VARIABLES: Final = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or NO_PROXY"
_OF_ONE_BODY: Final = ("content-length", "transfer-encoding")


class HTTPClients:
    """Both clients, and whether they may be used. The arguments and errors are those of `ImageClient`.

    The key is not in `api`, but comes with each request.
    """

    def __init__(
        self,
        api_key: str | None,
        base_url: str | None,
        timeout: float | httpx.Timeout,
        keepalive: float,
        transport: httpx.AsyncBaseTransport | None,
        download_transport: httpx.AsyncBaseTransport | None,
        headers: Mapping[str, str] | None,
    ) -> None:
        self.base_url: httpx.URL = find_base_url(base_url)
        self.auth: BearerAuth = BearerAuth(find_api_key(api_key), self.base_url)
        warn_if_unencrypted(self.base_url, stacklevel=3)
        options: dict[str, Any] = {
            "timeout": timeouts(timeout),
            "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # an answer must not change the next request
            # The throttle queues requests, not the pool. Its cost grows with the square of idle connections.
            "limits": httpx.Limits(
                max_connections=None, max_keepalive_connections=MAX_IDLE_CONNECTIONS, keepalive_expiry=keepalive
            ),
        }
        agent = {"User-Agent": f"aimlapi-images/{VERSION} Python/{platform.python_version()}"}
        if transport is None:
            options["verify"] = ssl_context()
        headers = {**agent, **_checked(headers)}
        try:
            self.api = httpx.AsyncClient(base_url=self.base_url, transport=transport, headers=headers, **options)
            self.downloads = httpx.AsyncClient(transport=download_transport or transport, headers=agent, **options)
        except (ValueError, ImportError, httpx.InvalidURL, IndexError) as error:
            # Other errors may contain a part of the proxy's password.
            reason = error if isinstance(error, ImportError) or type(error) is ValueError else "it is not a valid URL"
            raise InvalidRequestError(f"a proxy in {_PROXY_VARIABLES} cannot be used: {reason}") from None
        self._loop: asyncio.AbstractEventLoop | None = None

    def check_usable(self) -> None:
        """Raise an `InvalidRequestError` if the clients are closed, or belong to another event loop."""
        if self.api.is_closed:
            raise InvalidRequestError("this client is closed: make a new one, or keep it open while it is used")
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise InvalidRequestError("this client belongs to another event loop: make one for each asyncio.run()")
        self._loop = loop

    async def aclose(self) -> None:
        await self.api.aclose()
        await self.downloads.aclose()


def ssl_context() -> ssl.SSLContext:
    """The trusted certificates: httpx's own, or those named by `SSL_CERT_FILE` or `SSL_CERT_DIR`."""
    try:
        return _load_certificates(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    except OSError as error:  # which an SSLError is, too
        named = [f"{name}={os.environ[name]}" for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)]
        where = " or ".join(named) or "the installed package certifi"
        raise InvalidRequestError(f"no certificates can be loaded from {where}: {error}") from error


@lru_cache(maxsize=1)  # it takes longer than anything else that a client does at its start
def _load_certificates(file: str | None, folder: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()


def warn_if_unencrypted(base_url: httpx.URL, *, stacklevel: int) -> None:
    """Warn if the key is sent over plain HTTP, unless it stays on this machine or in a private network."""
    host = base_url.host.rstrip(".")
    try:
        private = not is_public(ipaddress.ip_address(host))
    except ValueError:
        private = "." not in host or host.endswith((".localhost", ".local"))
    if base_url.scheme == "http" and not private:
        message = f"the API key is sent to {host} unencrypted: use https if the server supports it"
        warnings.warn(message, stacklevel=stacklevel + 1)


def _checked(headers: Mapping[str, str] | None) -> Mapping[str, str]:
    if not isinstance(headers, Mapping | None):
        raise InvalidRequestError(f"headers must be a mapping from names to values, not {type(headers).__name__}")
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name) or name.lower() in _OF_ONE_BODY:
            raise InvalidRequestError(f"{name!r} is not the name of a header that all requests can have")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise InvalidRequestError(f"header {name!r} must have printable ASCII text as its value")
    return headers or {}
