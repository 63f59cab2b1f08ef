"""The two HTTP clients of an `ImageClient`: one for the API, and one without the key for image hosts."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import platform
import ssl
import warnings
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import version
from typing import Any

import httpx

from aimlapi_images.api.auth import BearerAuth
from aimlapi_images.api.ssrf import is_public
from aimlapi_images.config import KEEPALIVE_SECONDS, MAX_IDLE_CONNECTIONS, find_api_key, find_base_url, timeouts
from aimlapi_images.errors import InvalidRequestError


class HTTPClients:
    """Both clients, and whether they may be used. The arguments are those of `ImageClient`.

    Attributes:
        base_url: The API's address.
        auth: The key, bound to that address.
        api: The client for the API. The key is not in it, but comes with each request.
        downloads: The client for image hosts.

    Raises:
        InvalidRequestError: There is no key, or an argument or environment variable is invalid.
    """

    def __init__(
        self,
        *,
        api_key: str | None,
        base_url: str | None,
        timeout: float | httpx.Timeout,
        transport: httpx.AsyncBaseTransport | None,
        download_transport: httpx.AsyncBaseTransport | None,
        headers: Mapping[str, str] | None,
    ) -> None:
        self.base_url = find_base_url(base_url)
        self.auth = BearerAuth(find_api_key(api_key), self.base_url)
        warn_if_unencrypted(self.base_url, stacklevel=3)
        options: dict[str, Any] = {
            "timeout": timeouts(timeout),
            # The throttle queues requests, not the pool. Its cost grows with the square of idle connections.
            "limits": httpx.Limits(
                max_connections=None, max_keepalive_connections=MAX_IDLE_CONNECTIONS, keepalive_expiry=KEEPALIVE_SECONDS
            ),
        }
        agent = {"User-Agent": f"aimlapi-images/{version('aimlapi-images')} Python/{platform.python_version()}"}
        if transport is None:
            # One for both clients: loading the certificates takes longer than anything else here.
            options["verify"] = ssl_context()
        headers = _checked(headers)
        try:
            self.api = httpx.AsyncClient(
                base_url=self.base_url,
                transport=transport,
                headers={**agent, **headers},
                cookies=_no_cookies(),
                **options,
            )
            self.downloads = httpx.AsyncClient(
                transport=download_transport or transport, headers=agent, cookies=_no_cookies(), **options
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            # The text of an InvalidURL may have a part of the proxy's password.
            hidden = isinstance(error, httpx.InvalidURL)
            reason = "it is not a valid URL" if hidden else error
            raise InvalidRequestError(
                f"a proxy in HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or NO_PROXY cannot be used: {reason}"
            ) from (None if hidden else error)
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
        """Close both."""
        await self.api.aclose()
        await self.downloads.aclose()


def ssl_context() -> ssl.SSLContext:
    """The trusted certificates: httpx's own, or those named by `SSL_CERT_FILE` or `SSL_CERT_DIR`."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # which an SSLError is, too
        named = [f"{name}={os.environ[name]}" for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)]
        where = " or ".join(named) or "the installed package certifi"
        raise InvalidRequestError(f"no certificates can be loaded from {where}: {error}") from error


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


def _no_cookies() -> CookieJar:
    """A jar that accepts no cookies: an answer must not change the next request."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


def _checked(headers: Mapping[str, str] | None) -> Mapping[str, str]:
    for name, value in (headers or {}).items():
        if not isinstance(value, str) or not f"{name}{value}".isascii():
            raise InvalidRequestError(f"header {name!r} must have an ASCII string as its value")
    return headers or {}
