"""One connection to a server, without a proxy, as a transport for httpx."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

import httpcore
import httpx

from aimlapi_images.transports.buffers import SocketOption


class DirectTransport(httpx.AsyncBaseTransport):
    """Carries requests one after the other over httpcore, with our own streams beneath.

    Args:
        verify: Which certificates are trusted.
        keepalive: Seconds for which an idle connection is kept.
        socket_options: For each connection.
        backend: Makes the connections; may be shared.
    """

    def __init__(
        self,
        verify: ssl.SSLContext,
        *,
        keepalive: float,
        socket_options: Sequence[SocketOption],
        backend: httpcore.AsyncNetworkBackend,
    ) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=verify,
            max_connections=None,
            max_keepalive_connections=1,
            keepalive_expiry=keepalive,
            socket_options=socket_options,
            network_backend=backend,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        with _errors_as_httpx():
            response = await self._pool.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        assert isinstance(response.stream, AsyncIterable)  # noqa: S101 - it is asynchronous
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Stream(response, response.stream),
            extensions=dict(response.extensions),
        )

    async def aclose(self) -> None:
        """Close the connection."""
        await self._pool.aclose()


class _Stream(httpx.AsyncByteStream):
    """A response's body."""

    def __init__(self, response: httpcore.Response, pieces: AsyncIterable[bytes]) -> None:
        self._response = response
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_as_httpx():
            async for piece in self._pieces:
                yield piece

    async def aclose(self) -> None:
        with _errors_as_httpx():
            await self._response.aclose()


@contextmanager
def _errors_as_httpx() -> Iterator[None]:
    """Raise httpcore's errors as httpx's, which have the same names."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        raise _named(error)(str(error)) from error
    except httpcore.UnsupportedProtocol as error:
        raise httpx.UnsupportedProtocol(str(error)) from error


def _named(error: Exception) -> type[httpx.TransportError]:
    kind: type[httpx.TransportError] = getattr(httpx, type(error).__name__)
    return kind
