"""A transport that connects an httpx client to an emulator in the same process, without a port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
from starlette.types import ASGIApp, Message

from aimlapi_images.emulator.app import create_app, state_of
from aimlapi_images.emulator.fault_answers import CLOSE_EXTENSION
from aimlapi_images.emulator.state import State

_CLOSED = object()


class InProcessTransport(httpx.AsyncBaseTransport):
    """Runs an ASGI application for each request.

    Unlike `httpx.ASGITransport`, it keeps the read timeout, streams answers, and can break connections.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> State:
        """The state of the emulator: settings, counters, planned faults."""
        return state_of(self._app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return when the answer begins."""
        exchange = _Exchange(request, await request.aread())
        task = asyncio.create_task(exchange.run(self._app))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            start = await exchange.next()
        except BaseException:
            exchange.leave()
            raise
        return httpx.Response(start["status"], headers=start["headers"], stream=_Body(exchange))

    async def aclose(self) -> None:
        """End the requests that are still running in this event loop."""
        loop = asyncio.get_running_loop()
        tasks = [task for task in self._tasks if task.get_loop() is loop]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Exchange:
    """One request and its answer."""

    def __init__(self, request: httpx.Request, body: bytes) -> None:
        self._scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.partition(b"?")[0],
            "query_string": request.url.query,
            "server": (request.url.host, request.url.port),
            "client": ("127.0.0.1", 0),
            "root_path": "",
            "extensions": {CLOSE_EXTENSION: self.leave},
        }
        self._timeout = request.extensions.get("timeout", {}).get("read")
        self._request: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        self._answer: asyncio.Queue[Any] = asyncio.Queue()
        self._left = asyncio.Event()
        self._started = False

    async def run(self, app: ASGIApp) -> None:
        """Run the application to its end. The client may have left by then, as an order goes on without it."""
        with contextlib.suppress(Exception):  # its own error handling has logged it
            await app(self._scope, self._receive, self._send)
        self._answer.put_nowait(_CLOSED)

    def leave(self) -> None:
        """Break the connection, from either side."""
        self._left.set()
        self._answer.put_nowait(_CLOSED)

    async def next(self) -> Any:
        """The next message of the application.

        Raises:
            httpx.ReadTimeout: There is none within the read timeout.
            httpx.RemoteProtocolError: The connection was closed.
        """
        try:
            async with asyncio.timeout(self._timeout):
                message = await self._answer.get()
        except TimeoutError as error:
            raise httpx.ReadTimeout("the emulator took longer than the read timeout") from error
        if message is _CLOSED:
            how = "in the middle of the response" if self._started else "without sending a response"
            raise httpx.RemoteProtocolError(f"Server disconnected {how}.")
        self._started = True
        return message

    async def _receive(self) -> Message:
        if self._request:
            return self._request.pop()
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if not self._left.is_set():
            self._answer.put_nowait(message)


class _Body(httpx.AsyncByteStream):
    """The body of an answer, as it arrives."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._exchange.next()
            if piece := message.get("body", b""):
                yield piece
            more = message.get("more_body", False)

    async def aclose(self) -> None:
        self._exchange.leave()


def transport(app: ASGIApp | None = None, **settings: Any) -> InProcessTransport:
    """Create a transport that connects an `ImageClient` to an emulator in this process, without a port.

    Args:
        app: The application, such as `create_app(latency=1)`; one with the settings if `None`.
        **settings: See `Settings`.
    """
    return InProcessTransport(app or create_app(**settings))
