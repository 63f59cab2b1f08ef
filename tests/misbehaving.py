"""A server on raw sockets that sends exact bytes, and keeps the requests."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import attrs


@attrs.frozen
class Request:
    """A request as received, with header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    head: bytes


@attrs.frozen
class Reply:
    """How the server responds to one request.

    Attributes:
        pieces: Bytes to send, one after the other.
        pause: Seconds between two pieces. Sending stops when the client closes the connection.
        end: How it ends: `close`, `reset` (the connection breaks), or `hang` (wait for the client to close it).
    """

    pieces: Sequence[bytes] = ()
    pause: float = 0.0
    end: Literal["close", "reset", "hang"] = "close"


Behaviour = Reply | Callable[["MisbehavingServer", Request], Reply]
"""A reply, or a function that makes one from the server and the request."""

DROP = Reply()
RESET = Reply(end="reset")
SILENCE = Reply(end="hang")


def reply(
    status: int, body: object = b"", headers: Mapping[str, str] | None = None, *, cut: int | None = None
) -> Reply:
    """Make a well-formed response. A body that is not bytes is sent as JSON. `cut` sends only that many bytes of it."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"Connection": "close", "Content-Length": str(len(content)), **(headers or {})}
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in named.items())]
    return Reply(["\r\n".join([*lines, "", ""]).encode(), content[:cut]])


def link(path: str, **fields: object) -> Behaviour:
    """Make the response to an order whose image is at this path of the server, with extra fields beside the URL."""
    return lambda server, _: reply(200, {"data": [{"url": server.origin + path, **fields}]})


_LINGER_NOT = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


class MisbehavingServer:
    """A server on a free port of 127.0.0.1, with a thread for each connection and a connection for each request.

    Args:
        posts: Behavior for each POST. The last one repeats.
        gets: Behavior for each GET. The last one repeats.
        tls: Certificate to use TLS with.
    """

    def __init__(
        self, posts: Sequence[Behaviour] = (), gets: Sequence[Behaviour] = (), tls: ssl.SSLContext | None = None
    ) -> None:
        self.requests: list[Request] = []
        self._scripts = {"POST": list(posts) or [reply(404)], "GET": list(gets) or [reply(404)]}
        self._tls = tls
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.origin = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def count(self, method: str) -> int:
        """Return the number of requests with this method."""
        return [request.method for request in self.requests].count(method)

    def __enter__(self) -> MisbehavingServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Closing does not wake a thread that waits in accept() or for a client: shutting down does.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
        try:
            # Clients that disconnect, or do not trust the certificate, are expected.
            with contextlib.suppress(OSError):
                if self._tls is not None:
                    with self._tls.wrap_socket(connection, server_side=True) as secured:
                        self._answer(secured)
                else:
                    self._answer(connection)
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _answer(self, connection: socket.socket) -> None:
        request = _read_request(connection)
        if request is None:
            return
        with self._lock:
            self.requests.append(request)
            script = self._scripts[request.method]
            behaviour = script.pop(0) if len(script) > 1 else script[0]
        answer = behaviour if isinstance(behaviour, Reply) else behaviour(self, request)
        for number, piece in enumerate(answer.pieces):
            if number and answer.pause and select.select([connection], [], [], answer.pause)[0]:
                return
            connection.sendall(piece)
        if answer.end == "hang":
            connection.recv(1)
        elif answer.end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)


def _read_request(connection: socket.socket) -> Request | None:
    with connection.makefile("rb") as reader:
        head = b""
        while (line := reader.readline()) != b"\r\n":
            if not line:
                return None  # the client has gone
            head += line
        first, *lines = head.decode("latin-1").splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        method, target, _ = first.split(" ")
        return Request(method, target, headers, reader.read(int(headers.get("content-length", "0"))), head)


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """Yield an address on this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield f"http://127.0.0.1:{port}"
