"""The emulator as a server on a local port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import uvicorn
from starlette.types import ASGIApp

from aimlapi_images.emulator.app import create_app


@attrs.frozen
class RunningEmulator:
    """A running emulator.

    Attributes:
        base_url: The base URL for a client, such as `http://127.0.0.1:8400`.
    """

    base_url: str


@contextmanager
def serve(app: ASGIApp | None = None, *, port: int = 0, host: str = "127.0.0.1") -> Iterator[RunningEmulator]:
    """Run the emulator in a thread until the block ends.

    Args:
        app: The application, such as `create_app(latency=1)`; one with default settings if `None`.
        port: The port; 0 for a free one.
        host: The address to listen at.

    Raises:
        OSError: The port is taken.
    """
    server, listener = _prepare(app, host, port)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="emulator", daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():  # pragma: no cover - it said why on standard error
                raise RuntimeError("the emulator did not start")
            time.sleep(0.01)
        yield RunningEmulator(base_url=_address(listener))
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def run(app: ASGIApp, *, port: int, host: str) -> Iterator[str]:
    """Listen, yield the base URL, then serve until interrupted.

    An iterator, so that the address can be told before the serving begins; it ends when the server does.
    """
    server, listener = _prepare(app, host, port)
    with listener:
        yield _address(listener)
        server.run(sockets=[listener])


def _prepare(app: ASGIApp | None, host: str, port: int) -> tuple[uvicorn.Server, socket.socket]:
    # Listen here rather than in uvicorn, so that a taken port raises OSError and port 0 is resolved.
    listener = socket.create_server((host, port))
    config = uvicorn.Config(app or create_app(), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    return uvicorn.Server(config), listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"
