"""The emulator as a server on a local port."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Any

import attrs
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from aimlapi_images.emulator.app import create_app, state_of
from aimlapi_images.emulator.fault_answers import CLOSE_EXTENSION
from aimlapi_images.emulator.in_process import InProcessTransport
from aimlapi_images.emulator.state import State, Stats


@attrs.frozen
class RunningEmulator:
    """A running emulator.

    Attributes:
        base_url: The base URL for a client, such as `http://127.0.0.1:8400`.
        app: The application.
    """

    base_url: str
    app: ASGIApp = attrs.field(repr=False)

    @property
    def state(self) -> State:
        """Settings, counters, planned faults and images."""
        return state_of(self.app)

    @property
    def stats(self) -> Stats:
        """The counters, such as `stats.refused`."""
        return self.state.stats

    @property
    def billed(self) -> int:
        """Number of orders that were billed."""
        return self.stats.billed

    def fail(self, kind: str, times: int = 1) -> None:
        """Let the next `times` valid orders fail with a kind of `FAULTS`, such as `rate_limited`."""
        self.state.fail(kind, times)

    def configure(self, **settings: Any) -> None:
        """Change settings from now on. See `Settings`."""
        self.state.configure(**settings)

    def reset(self, **settings: Any) -> None:
        """Forget all orders and planned faults, and return to the initial settings, changed by those given."""
        self.state.reset(**settings)

    def transport(self) -> InProcessTransport:
        """A transport to this emulator that uses no port."""
        return InProcessTransport(self.app)


class Serving(AbstractContextManager[RunningEmulator], AbstractAsyncContextManager[RunningEmulator]):
    """Runs an emulator in a thread, within a `with` or an `async with` block."""

    def __init__(self, running: AbstractContextManager[RunningEmulator]) -> None:
        self._running = running

    def __enter__(self) -> RunningEmulator:
        return self._running.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._running.__exit__(kind, error, traceback)

    async def __aenter__(self) -> RunningEmulator:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        # Clients in this event loop have to notice that their connections close, so the loop is not blocked.
        return await asyncio.to_thread(self.__exit__, kind, error, traceback)


def serve(
    app: ASGIApp | None = None,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    image_port: int | None = None,
    **settings: Any,
) -> Serving:
    """Run the emulator in a thread until the `with` or `async with` block ends.

    Args:
        app: The application, such as `create_app(latency=1)`; one with the settings if `None`.
        port: The port; 0 for a free one.
        host: The address to listen at, such as `::1`.
        image_port: A port of its own for the image host, 0 for a free one; the same port if `None`.
        **settings: See `Settings`.

    Raises:
        OSError: The port is taken, or the host is unknown.
    """
    return Serving(_serve(app or create_app(**settings), host, port, image_port))


@contextmanager
def _serve(app: ASGIApp, host: str, port: int, image_port: int | None) -> Iterator[RunningEmulator]:
    with _listening(app, host, port, image_port) as (server, listeners, base_url):
        thread = threading.Thread(target=server.run, kwargs={"sockets": listeners}, name="emulator", daemon=True)
        thread.start()
        try:
            while not server.started:
                if not thread.is_alive():  # pragma: no cover - it said why on standard error
                    raise RuntimeError("the emulator did not start")
                time.sleep(0.002)
            yield RunningEmulator(base_url, app)
        finally:
            server.should_exit = True
            thread.join()


def run(app: ASGIApp, *, port: int, host: str, image_port: int | None = None) -> Iterator[str]:
    """Listen, yield the base URL, then serve until interrupted.

    An iterator, so that the address can be told before the serving begins; it ends when the server does.
    """
    with _listening(app, host, port, image_port) as (server, listeners, base_url):
        yield base_url
        server.run(sockets=listeners)


@contextmanager
def _listening(
    app: ASGIApp, host: str, port: int, image_port: int | None
) -> Iterator[tuple[uvicorn.Server, list[socket.socket], str]]:
    # Listen here rather than in uvicorn, so that a taken port raises OSError and port 0 is resolved.
    with ExitStack() as stack:
        listeners = [stack.enter_context(_listener(host, each)) for each in (port, image_port) if each is not None]
        if image_port is not None:
            state_of(app).image_port = listeners[1].getsockname()[1]
        config = uvicorn.Config(
            app,
            http=_ClosableProtocol,
            ws="none",
            lifespan="off",
            # The application logs its own errors. A client that leaves is none, nor is an order that the end cuts off.
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            backlog=2048,
            timeout_graceful_shutdown=1,
        )
        yield uvicorn.Server(config), listeners, _address(listeners[0])


def _listener(host: str, port: int) -> socket.socket:
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(address[:2], family=family)


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _ClosableProtocol(H11Protocol):
    """Lets the application close the connection, which ASGI has no message for."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Offer the application a way to close this connection."""
        super().connection_made(transport)
        app = self.app

        async def closable(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[CLOSE_EXTENSION] = transport.close
            await app(scope, receive, send)

        self.app = closable
