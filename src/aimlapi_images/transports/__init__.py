"""What carries requests: httpx's own transport without its slow pool, and aiohttp's, which is faster still."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import httpx

from aimlapi_images.transports.buffers import receive_buffer
from aimlapi_images.transports.direct import DirectTransport
from aimlapi_images.transports.proxies import EnvironmentProxies
from aimlapi_images.transports.streams import AsyncioBackend

if TYPE_CHECKING:
    from aimlapi_images.transports.aiohttp_bridge import AiohttpTransport

# Idle connections are dropped long before a server would: a request that meets a closing one has an unknown
# outcome, and costs more than a new connection.
KEEPALIVE_SECONDS: Final = 2.0

_Lane = DirectTransport | httpx.AsyncHTTPTransport


def aiohttp_transport(*, verify: ssl.SSLContext | None = None) -> AiohttpTransport:
    """A transport over aiohttp, for less CPU time an image: `ImageClient(transport=aiohttp_transport())`.

    Proxies, certificates and time limits are as without it. It belongs to one client, which closes it.

    Args:
        verify: Which certificates are trusted; the same as by default if `None`.

    Raises:
        ImportError: aiohttp is not there: it comes with the extra `aiohttp`.
        ValueError: The environment names a proxy that aiohttp cannot use.
    """
    try:
        from aimlapi_images.transports.aiohttp_bridge import AiohttpTransport
    except ImportError as error:
        raise ImportError('aiohttp_transport() needs the extra: pip install "aimlapi-images[aiohttp]"') from error
    return AiohttpTransport(verify or httpx.create_ssl_context(), keepalive=KEEPALIVE_SECONDS)


class LanesTransport(httpx.AsyncBaseTransport):
    """httpcore, on which httpx's own transport stands, many times, each with one connection at a time.

    The pool in one such transport looks at all of its connections whenever a request begins or ends: with
    hundreds open, that takes longer than all else. Here, a request takes a free lane, or a new one. There are
    as many lanes as requests were ever open at once; who calls has to see to that number.

    Args:
        verify: Which certificates are trusted; httpx's default if `None`.

    Raises:
        ValueError: The environment names a proxy that is none.
        ImportError: The environment names a SOCKS proxy, and `socksio` is not there.
    """

    def __init__(self, verify: ssl.SSLContext | None = None) -> None:
        # One for all: loading the certificates takes longer than all else here.
        self._verify = verify or httpx.create_ssl_context()
        self._environment = EnvironmentProxies()
        self._backend = AsyncioBackend()
        self._free: dict[httpx.Proxy | None, list[_Lane]] = {None: []}
        self._lanes: set[_Lane] = set()
        for proxy in self._environment.proxies.values():
            self._free[proxy] = [self._new_lane(proxy)]  # at once, for what is wrong with it to be known at once

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        proxy = self._environment.find(request.url)
        free = self._free[proxy]
        lane = free.pop() if free else self._new_lane(proxy)
        try:
            response = await lane.handle_async_request(request)
        except BaseException:
            await self.close_lane(lane)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - it is asynchronous
        response.stream = _LaneStream(response.stream, self, lane, free)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        for lane in list(self._lanes):
            await self.close_lane(lane)
        for free in self._free.values():
            free.clear()

    def _new_lane(self, proxy: httpx.Proxy | None) -> _Lane:
        options = receive_buffer(len(self._lanes))
        lane: _Lane
        if proxy is None:
            lane = DirectTransport(
                self._verify, keepalive=KEEPALIVE_SECONDS, socket_options=options, backend=self._backend
            )
        else:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE_SECONDS)
            lane = httpx.AsyncHTTPTransport(verify=self._verify, limits=limits, proxy=proxy, socket_options=options)
        self._lanes.add(lane)
        return lane

    def release(self, lane: _Lane, free: list[_Lane]) -> None:
        """Let the next request have a lane."""
        if lane in self._lanes and lane not in free:
            free.append(lane)

    async def close_lane(self, lane: _Lane) -> None:
        """Close a lane for good: after a failure, a connection may still be in it."""
        self._lanes.discard(lane)
        with suppress(Exception):  # what failed before is what matters
            await lane.aclose()


class _LaneStream(httpx.AsyncByteStream):
    """A response's body, whose lane is free when it is closed."""

    def __init__(
        self, stream: httpx.AsyncByteStream, transport: LanesTransport, lane: _Lane, free: list[_Lane]
    ) -> None:
        self._stream = stream
        self._transport = transport
        self._lane = lane
        self._free = free

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            yield piece

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        except BaseException:
            await self._transport.close_lane(self._lane)
            raise
        self._transport.release(self._lane, self._free)
