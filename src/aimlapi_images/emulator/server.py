"""The emulator on a port of this machine."""

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
    """Attributes:
    base_url: What to give a client, as `http://127.0.0.1:8400`.
    """

    base_url: str


@contextmanager
def serve(app: ASGIApp | None = None, *, port: int = 0, host: str = "127.0.0.1") -> Iterator[RunningEmulator]:
    """Run the emulator in a thread, for as long as the block lasts.

    Args:
        app: What to serve: `create_app(…)`, with settings or middleware of yours; a plain one if `None`.
        port: The port; a free one if 0.
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
    """Listen, give the base URL, then serve until interrupted.

    An iterator, so that the address can be told before the serving begins; it ends when the server does.
    """
    server, listener = _prepare(app, host, port)
    with listener:
        yield _address(listener)
        server.run(sockets=[listener])


def _prepare(app: ASGIApp | None, host: str, port: int) -> tuple[uvicorn.Server, socket.socket]:
    # Listening here, not in uvicorn: a taken port is an OSError for the caller, and port 0 gets its number.
    listener = socket.create_server((host, port))
    config = uvicorn.Config(app or create_app(), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    return uvicorn.Server(config), listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"
