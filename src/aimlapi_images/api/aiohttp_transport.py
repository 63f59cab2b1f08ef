"""An httpx transport over aiohttp, for less CPU time an image.

Not httpx-aiohttp: it reports a connection that breaks after the request was sent as one that was never made, and an
order would be sent, and billed, twice. It also keeps cookies, rewrites signed URLs, and limits connections to 100.
"""

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final
from urllib.request import getproxies, proxy_bypass_environment  # type: ignore[attr-defined]

import httpx

from aimlapi_images.about import needs_extra
from aimlapi_images.api.http_clients import ssl_context
from aimlapi_images.config import KEEPALIVE_SECONDS, not_negative, parse_url
from aimlapi_images.errors import InvalidRequestError

try:
    import aiohttp
    import yarl
    from multidict import CIMultiDict, CIMultiDictProxy
except ImportError as _error:  # pragma: no cover - tried with the built wheel, in an environment without it
    raise ImportError(needs_extra("aiohttp_transport()", "aiohttp")) from _error

_PIECE_BYTES: Final = 64 * 2**10
_READ_BYTES: Final = 256 * 2**10
_MAX_HEADER_BYTES: Final = 64 * 2**10
_AHEAD_BYTES: Final = 16 * 2**10  # read ahead on each connection while its body waits for a slot

# The first match counts. What may have been sent must not look as if it was not: it would be sent, and billed, again.
_ERRORS: Final[list[tuple[type[BaseException], type[httpx.TransportError]]]] = [
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.SocketTimeoutError, httpx.ReadTimeout),
    (TimeoutError, httpx.WriteTimeout),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
]

# Checks each address that the running task is about to connect to.
_check_address: ContextVar[Callable[[str], None] | None] = ContextVar("check_address", default=None)


def aiohttp_transport(
    *, verify: ssl.SSLContext | None = None, keepalive: float = KEEPALIVE_SECONDS
) -> "AiohttpTransport":
    """Make a transport over aiohttp: `ImageClient(transport=aiohttp_transport())`.

    Proxies, certificates and timeouts work as without it. It belongs to one client, which closes it.

    Args:
        verify: The trusted certificates; the same as by default if `None`.
        keepalive: Seconds that an idle connection is kept, in place of the client's argument.

    Raises:
        InvalidRequestError: The environment names a proxy that aiohttp cannot use.
    """
    not_negative("keepalive", keepalive)
    return AiohttpTransport(verify or ssl_context(), keepalive)


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Carries requests over aiohttp, with any number of connections. See `aiohttp_transport`."""

    def __init__(self, verify: ssl.SSLContext, keepalive: float) -> None:
        self._verify = verify
        self._keepalive = keepalive
        self._session: aiohttp.ClientSession | None = None
        # Not aiohttp's own `trust_env`, which also sends passwords from `.netrc`.
        self._environment = getproxies()
        self._proxies = {
            scheme: _proxy(f"{scheme.upper()}_PROXY", address)
            for scheme in ("http", "https", "all")
            if (address := self._environment.get(scheme))
        }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        session = self._session
        if session is None:
            session = self._session = self._new_session()  # not earlier: it belongs to the running loop
        proxy = self._find_proxy(request.url)
        # What lies behind a proxy is the proxy's to decide.
        _check_address.set(None if proxy else request.extensions.get("check_address"))
        timeout = request.extensions.get("timeout", {})
        with _errors_as_httpx(request):
            async with asyncio.timeout(None) as limit:
                body = _body(request, limit, timeout)
                response = await session.request(
                    request.method,
                    yarl.URL(str(request.url), encoded=True),  # quoting a signed URL again would break it
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
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_ResponseStream(response, request),
            extensions={"reason_phrase": (response.reason or "").encode("latin-1", "replace")},
        )

    def _find_proxy(self, url: httpx.URL) -> httpx.Proxy | None:
        host = url.host if url.port is None or ":" in url.host else f"{url.host}:{url.port}"
        if proxy_bypass_environment(host, self._environment):
            return None
        return self._proxies.get(url.scheme) or self._proxies.get("all")

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, ssl=self._verify, keepalive_timeout=self._keepalive, socket_factory=_new_socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            # httpx has set the headers that are wanted.
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
            read_bufsize=_AHEAD_BYTES,
        )


def _proxy(variable: str, address: str) -> httpx.Proxy:
    url = parse_url(address if "://" in address else f"http://{address}")
    if url is None or not url.host:
        raise InvalidRequestError(f"{variable} is not the address of a proxy")
    if url.scheme not in ("http", "https"):
        shown = url.copy_with(userinfo=b"")
        raise InvalidRequestError(f"{variable}: aiohttp supports proxies at http:// and https:// only, not {shown}")
    return httpx.Proxy(url)


def _proxied(proxy: httpx.Proxy | None, url: httpx.URL, headers: list[tuple[str, str]]) -> dict[str, Any]:
    """The arguments of a request through a proxy. The proxy's login is sent to the proxy alone."""
    if proxy is None:
        return {"headers": headers}
    login = (
        [("Proxy-Authorization", f"Basic {b64encode(':'.join(proxy.auth).encode()).decode()}")] if proxy.auth else []
    )
    if url.scheme == "https":  # a tunnel, whose contents the proxy does not see
        return {"headers": headers, "proxy": str(proxy.url), "proxy_headers": dict(login)}
    return {"headers": headers + login, "proxy": str(proxy.url)}


def _new_socket(address: Any) -> socket.socket:
    family, kind, protocol, _, place = address
    if check := _check_address.get():
        check(str(place[0]))
    return socket.socket(family, kind, protocol)


def _body(
    request: httpx.Request, limit: asyncio.Timeout, timeout: dict[str, float | None]
) -> bytes | AsyncIterator[bytes] | None:
    """The request's body. While it is being sent, `limit` moves on, since aiohttp has no write timeout."""
    waits = [timeout.get(name) for name in ("connect", "write", "read")]
    seconds = sum(wait for wait in waits if wait is not None) if None not in waits else None

    def extend() -> None:
        if seconds is not None and not limit.expired():
            limit.reschedule(asyncio.get_running_loop().time() + seconds)

    async def pieces(stream: httpx.AsyncByteStream) -> AsyncIterator[bytes]:
        async for part in stream:
            for start in range(0, len(part), _PIECE_BYTES):
                extend()
                yield part[start : start + _PIECE_BYTES]

    extend()
    try:
        content = request.content
    except httpx.RequestNotRead:
        request.headers.pop("transfer-encoding", None)  # aiohttp sets it
    else:
        if len(content) <= _PIECE_BYTES:
            return content or None
    return pieces(request.stream) if isinstance(request.stream, httpx.AsyncByteStream) else None


class _ResponseStream(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse, request: httpx.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_as_httpx(self._request):
            async for piece in self._response.content.iter_chunked(_READ_BYTES):
                yield piece

    async def aclose(self) -> None:
        # Closes the connection, unless the whole body was read: then it is idle again already.
        self._response.close()


@contextmanager
def _errors_as_httpx(request: httpx.Request) -> Iterator[None]:
    """Raise aiohttp's errors as the httpx errors that say whether the request was sent."""
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        if isinstance(error, aiohttp.ClientResponseError):
            # It holds the request's headers, and so the key.
            error.args = ()
            error.request_info = error.request_info._replace(headers=CIMultiDictProxy(CIMultiDict()))
        kind = next((to for of, to in _ERRORS if isinstance(error, of)), httpx.ReadError)
        raise kind(str(error) or type(error).__name__, request=request) from error
