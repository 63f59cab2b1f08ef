"""Connections of asyncio's own for httpcore: large pieces where somebody waits for them, and little ahead."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import httpcore

from aimlapi_images.transports.addresses import alternating, is_address
from aimlapi_images.transports.buffers import AHEAD_BYTES
from aimlapi_images.turnstile import Turnstile

_PIECE_BYTES: Final = 256 * 2**10  # with somebody waiting for it
_NEXT_ADDRESS_SECONDS: Final = 2.0  # after which another address is tried, if there is one


class _Receiver(asyncio.BufferedProtocol):
    """Keeps what comes until it is read."""

    def __init__(self, buffer: memoryview) -> None:
        self.transport: asyncio.Transport | None = None
        self.at_start = True  # of an answer, whose body may have to wait
        self._lost = False
        self._ended = False
        self._error: Exception | None = None
        self._buffer = buffer
        self._pieces: list[bytes] = []
        self._paused = False
        self._arrival: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream's
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        # One for all connections: event loops fill it and tell of that at once.
        return self._buffer[:AHEAD_BYTES] if self.at_start or self._arrival is None else self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._pieces.append(bytes(self._buffer[:nbytes]))
        self.at_start = False
        if self._arrival is None and self.transport is not None and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        _wake(self._arrival)

    def eof_received(self) -> None:
        self._ended = True
        _wake(self._arrival)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self._ended = True
        self._error = exc
        _wake(self._arrival)
        _wake(self._room)

    def pause_writing(self) -> None:
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        _wake(room)

    @property
    def has_news(self) -> bool:
        """Whether there is something to be read, be it the end."""
        return bool(self._pieces) or self._ended

    async def wait(self) -> None:
        """Wait for something to read, or the end."""
        if not self.has_news:
            self._arrival = asyncio.get_running_loop().create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None

    def take(self) -> bytes:
        """All that has come; nothing at the end."""
        pieces, self._pieces = self._pieces, []
        if self._paused and self.transport is not None and not self._ended:
            self._paused = False
            self.transport.resume_reading()
        if not pieces and self._error is not None:
            raise self._error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def drain(self) -> None:
        """Wait until there is room for more to be sent."""
        if self._room is not None:
            await self._room
        self.check_open()

    def check_open(self) -> None:
        """Raise an `OSError` if nothing can be sent any more."""
        if self._lost or (self.transport is not None and self.transport.is_closing()):
            raise self._error or ConnectionResetError("the connection is closed")


class AsyncioStream(httpcore.AsyncNetworkStream):
    """One connection."""

    def __init__(self, receiver: _Receiver, turnstile: Turnstile) -> None:
        self._receiver = receiver
        self._turnstile = turnstile

    @property
    def _transport(self) -> asyncio.Transport:
        assert self._receiver.transport is not None  # noqa: S101 - it is connected
        return self._receiver.transport

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - as declared
        """All that has come. May be more than `max_bytes`: each piece costs, and nothing here minds large ones."""
        with _errors_as(httpcore.ReadTimeout, httpcore.ReadError):
            if not self._receiver.has_news:
                async with asyncio.timeout(timeout):
                    await self._receiver.wait()
                await self._turnstile.go()
            return self._receiver.take()

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        if not buffer:
            return
        with _errors_as(httpcore.WriteTimeout, httpcore.WriteError):
            self._receiver.check_open()
            self._receiver.at_start = True
            self._transport.write(buffer)
            async with asyncio.timeout(timeout):
                await self._receiver.drain()

    async def aclose(self) -> None:
        # At once: a farewell of TLS would be waited for.
        self._transport.abort()
        await asyncio.sleep(0)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        transport = self._transport
        try:
            with _errors_as(httpcore.ConnectTimeout, httpcore.ConnectError):
                async with asyncio.timeout(timeout):
                    secure = await asyncio.get_running_loop().start_tls(
                        transport, self._receiver, ssl_context, server_hostname=server_hostname
                    )
                if secure is None:
                    raise ConnectionResetError("the connection was closed during the TLS handshake")
        except BaseException:
            transport.abort()
            raise
        self._receiver.transport = secure
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._receiver.has_news or _is_readable(self._transport)
        names = {"server_addr": "peername", "client_addr": "sockname"}
        return self._transport.get_extra_info(names.get(info, info))


class AsyncioBackend(httpcore.AsyncNetworkBackend):
    """Makes connections, as httpcore wants them."""

    def __init__(self) -> None:
        self._turnstile = Turnstile()
        self._buffer = memoryview(bytearray(_PIECE_BYTES))

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        with _errors_as(httpcore.ConnectTimeout, httpcore.ConnectError):
            async with asyncio.timeout(timeout):
                transport, receiver = await self._connect(host, port)
        connected = transport.get_extra_info("socket")
        for option in socket_options or ():
            connected.setsockopt(*option)
        return AsyncioStream(receiver, self._turnstile)

    async def _connect(self, host: str, port: int) -> tuple[asyncio.Transport, _Receiver]:
        """Connect to the first address that answers. Not by asyncio's happy eyeballs, which leak when cancelled."""
        loop = asyncio.get_running_loop()
        addresses = [host]
        if not is_address(host):
            addresses = alternating(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        for number, address in enumerate(addresses, 1):
            try:
                async with asyncio.timeout(None if number == len(addresses) else _NEXT_ADDRESS_SECONDS):
                    return await loop.create_connection(partial(_Receiver, self._buffer), address, port)
            except OSError:  # a timeout, too
                if number == len(addresses):
                    raise
        raise ConnectionError(f"{host} has no address")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@contextmanager
def _errors_as(timeout: type[Exception], other: type[Exception]) -> Iterator[None]:
    """Raise the system's errors as httpcore's."""
    try:
        yield
    except TimeoutError as error:
        raise timeout(str(error)) from error
    except OSError as error:
        raise other(str(error)) from error


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _is_readable(transport: asyncio.Transport) -> bool:
    """Whether something has come that the event loop has not seen yet: on an idle connection, the end."""
    if transport.is_closing():
        return True
    descriptor = transport.get_extra_info("socket").fileno()
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([descriptor], [], [], 0)[0])  # pragma: no cover - Windows
