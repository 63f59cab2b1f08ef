"""Requests of httpx, carried by aiohttp.

Own code, and not httpx-aiohttp: that one takes a connection that breaks after the request was sent for one that was
never made, and so would have it sent, and billed, twice. It also keeps cookies, rewrites signed URLs, limits
connections to 100 and headers to 8 KiB, and lets some of aiohttp's errors through.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakValueDictionary

import aiohttp
import httpx
import yarl
from multidict import CIMultiDict, CIMultiDictProxy

from aimlapi_images.transports.buffers import AHEAD_BYTES, ReluctantSocket, receive_buffer
from aimlapi_images.transports.proxies import EnvironmentProxies
from aimlapi_images.turnstile import Turnstile

_PIECE_BYTES: Final = 64 * 2**10
_READING_BYTES: Final = 256 * 2**10  # what the event loop reads at once
_LONGEST_HEADER: Final = 64 * 2**10

# The first that fits. What cannot be told for sure counts as sent: what was not may be sent again.
_ERRORS: Final[list[tuple[type[BaseException], type[httpx.TransportError]]]] = [
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.SocketTimeoutError, httpx.ReadTimeout),
    (TimeoutError, httpx.WriteTimeout),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    (aiohttp.ClientError, httpx.ReadError),
    (OSError, httpx.ReadError),
]

# Asked of each address that the running task is about to connect to.
_check_address: ContextVar[Callable[[str], None] | None] = ContextVar("check_address", default=None)


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Carries requests over aiohttp, with any number of connections.

    Args:
        verify: Which certificates are trusted.
        keepalive: Seconds for which an idle connection is kept.

    Raises:
        ValueError: The environment names a proxy that is none, or a SOCKS proxy.
    """

    def __init__(self, verify: ssl.SSLContext, *, keepalive: float) -> None:
        self._verify = verify
        self._keepalive = keepalive
        self._environment = EnvironmentProxies()
        for proxy in self._environment.proxies.values():
            if proxy.url.scheme not in ("http", "https"):
                raise ValueError(f"the proxy {proxy.url.copy_with(userinfo=b'')} is not one that aiohttp can use")
        self._session: aiohttp.ClientSession | None = None
        self._turnstile = Turnstile()
        self._sockets: WeakValueDictionary[int, ReluctantSocket] = WeakValueDictionary()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        session = self._session
        if session is None:
            session = self._session = self._new_session()  # not before: it belongs to the running loop
        proxy = self._environment.find(request.url)
        # What a proxy connects to is the proxy's to decide.
        _check_address.set(None if proxy else request.extensions.get("check_address"))
        timeout = request.extensions.get("timeout", {})
        with _errors_as_httpx(request):
            async with asyncio.timeout(None) as guard:
                # aiohttp has no limit for the time that sending takes.
                expectation = _Expectation(guard, timeout)
                body = _body(request, expectation.progress)
                response = await session.request(
                    request.method,
                    # As it is: a signed URL that is quoted anew is another one.
                    yarl.URL(str(request.url), encoded=True),
                    data=body,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(
                        total=None,
                        connect=timeout.get("connect"),
                        sock_connect=timeout.get("connect"),
                        sock_read=timeout.get("read"),
                    ),
                    server_hostname=request.extensions.get("sni_hostname"),
                    **_proxied(proxy, request.url, request.headers.multi_items()),
                )
        try:
            await self._turnstile.go()  # hundreds may be answered in the same moment
        except BaseException:
            response.close()
            raise
        reason = (response.reason or "").encode("latin-1", "replace")
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Body(response, request, self._socket_of(response)),
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": reason},
        )

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, ssl=self._verify, keepalive_timeout=self._keepalive, socket_factory=self._new_socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            # httpx has put there what is to be there.
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
            read_bufsize=AHEAD_BYTES,
        )

    def _socket_of(self, response: aiohttp.ClientResponse) -> ReluctantSocket | None:
        """Where a response's body comes from, if that is still to come."""
        transport = response.connection and response.connection.transport
        connected = transport and transport.get_extra_info("socket")
        return self._sockets.get(connected.fileno()) if connected else None

    def _new_socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, place = address
        if check := _check_address.get():
            check(str(place[0]))
        new = ReluctantSocket(family, kind, protocol)
        for option in receive_buffer(len(self._sockets)):
            new.setsockopt(*option)
        self._sockets[new.fileno()] = new
        return new


class _Expectation:
    """By when the response has to begin: later with each piece of the request that goes out."""

    def __init__(self, guard: asyncio.Timeout, timeout: dict[str, float | None]) -> None:
        self._guard = guard
        connect, write, read = (timeout.get(name) for name in ("connect", "write", "read"))
        self._seconds = None if write is None or read is None or connect is None else connect + write + read
        self.progress()

    def progress(self) -> None:
        if self._seconds is not None and not self._guard.expired():
            self._guard.reschedule(asyncio.get_running_loop().time() + self._seconds)


class _Body(httpx.AsyncByteStream):
    """A response's body, in pieces as they come from the network."""

    def __init__(
        self, response: aiohttp.ClientResponse, request: httpx.Request, connection: ReluctantSocket | None
    ) -> None:
        self._response = response
        self._request = request
        self._socket = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._socket is not None:
            self._socket.wanted = True
        with _errors_as_httpx(self._request):
            async for piece in self._response.content.iter_chunked(_READING_BYTES):
                yield piece

    async def aclose(self) -> None:
        if self._socket is not None:
            self._socket.wanted = False
        # Closes the connection, unless all was read: then it went back to the others by itself.
        self._response.close()


@contextmanager
def _errors_as_httpx(request: httpx.Request) -> Iterator[None]:
    """Raise aiohttp's errors as those of httpx that say whether the request was sent."""
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        if isinstance(error, aiohttp.ClientResponseError):
            # It holds the request's headers, and these the key.
            error.args = ()
            error.request_info = error.request_info._replace(headers=CIMultiDictProxy(CIMultiDict()))
        kind = next(to for of, to in _ERRORS if isinstance(error, of))
        raise kind(str(error) or type(error).__name__, request=request) from error


def _body(request: httpx.Request, progress: Callable[[], None]) -> bytes | AsyncIterator[bytes] | None:
    try:
        content = request.content
    except httpx.RequestNotRead:
        request.headers.pop("transfer-encoding", None)  # aiohttp sets it
    else:
        if len(content) <= _PIECE_BYTES:
            return content or None
    assert isinstance(request.stream, httpx.AsyncByteStream)  # noqa: S101 - httpx sees to it
    return _pieces(request.stream, progress)


async def _pieces(stream: httpx.AsyncByteStream, progress: Callable[[], None]) -> AsyncIterator[bytes]:
    async for part in stream:
        for start in range(0, len(part), _PIECE_BYTES):
            progress()
            yield part[start : start + _PIECE_BYTES]


def _proxied(proxy: httpx.Proxy | None, url: httpx.URL, headers: list[tuple[str, str]]) -> dict[str, Any]:
    """What aiohttp is to be told of the proxy. Its login goes to the proxy alone: that is the one to be asked."""
    if proxy is None:
        return {"headers": headers}
    login: list[tuple[str, str]] = []
    if proxy.auth:
        login = [("Proxy-Authorization", f"Basic {b64encode(':'.join(proxy.auth).encode()).decode()}")]
    if url.scheme == "https":  # through a tunnel, in which the proxy sees nothing
        return {"headers": headers, "proxy": str(proxy.url), "proxy_headers": dict(login)}
    return {"headers": headers + login, "proxy": str(proxy.url)}
