"""The two HTTP clients of an `ImageClient`: one with the key for the API, one without it for images."""

from __future__ import annotations

import asyncio
import logging
import platform
import ssl
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

import httpx

from aimlapi_images.api.auth import BearerAuth, KeyFilter, find_api_key, find_base_url, warn_if_unencrypted
from aimlapi_images.config import timeouts
from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.stateless import StatelessClient
from aimlapi_images.transports import LanesTransport

_HTTP_LOGGERS: Final = [logging.getLogger(f"httpcore.{name}") for name in ("http11", "http2", "connection", "proxy")]


class Connections:
    """Both clients, and whether they may be used.

    Args:
        api_key: The key, or `None` for that of the environment.
        base_url: The API's address, or `None` for that of the environment, or the default.
        timeout: Seconds, or an `httpx.Timeout`.
        transport: What carries requests to the API.
        download_transport: What carries downloads.
        headers: Sent with each request to the API.

    Attributes:
        base_url: The API's address.
        auth: The key, for that address alone.
        api: The client for the API. It has no key either: that comes with each request.
        downloads: The client for images.

    Raises:
        InvalidRequestError: There is no key, or an argument cannot be right.
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
        options: dict[str, Any] = {"timeout": timeouts(timeout), "follow_redirects": False}
        if transport is None:
            # One for both clients: loading the certificates takes longer than all else here.
            context = httpx.create_ssl_context()
            transport, download_transport = _lanes(context), download_transport or _lanes(context)
        agent = {"User-Agent": f"aimlapi-images/{version('aimlapi-images')} Python/{platform.python_version()}"}
        self.api = StatelessClient(
            base_url=self.base_url, transport=transport, headers={**agent, **_headers(headers)}, **options
        )
        self.downloads = StatelessClient(transport=download_transport or transport, headers=agent, **options)
        self._filter = KeyFilter(self.auth)
        for logger in _HTTP_LOGGERS:
            logger.addFilter(self._filter)
        self._loop: asyncio.AbstractEventLoop | None = None

    def check_usable(self) -> None:
        """Raise an `InvalidRequestError` if they are closed, or belong to another event loop."""
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
        for logger in _HTTP_LOGGERS:
            logger.removeFilter(self._filter)


def _lanes(context: ssl.SSLContext) -> LanesTransport:
    try:
        return LanesTransport(context)
    except (ValueError, ImportError) as error:
        raise InvalidRequestError(f"the environment's proxies cannot be used: {error}") from error


def _headers(headers: Mapping[str, str] | None) -> Mapping[str, str]:
    for name, value in (headers or {}).items():
        if not isinstance(value, str) or not f"{name}{value}".isascii():
            raise InvalidRequestError(f"header {name!r} has a value that cannot be sent: it has to be an ASCII string")
    return headers or {}
