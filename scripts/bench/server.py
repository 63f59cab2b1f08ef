"""The server for all contestants, in its own process. Answers are prebuilt, so that it is no bottleneck.

The first part of a path selects the answer:

    /b64-SIZE-FLIGHT/…, /url-SIZE-FLIGHT/…   an image of SIZE bytes, once FLIGHT requests are open
    /url-SIZE-FLIGHT-SECONDS/…                the same, from an image host that takes so long
    /image-SIZE-SECONDS.png                   the image at such a URL
    /limited-NAME-SECONDS-SEED/…              one pixel after SECONDS if the model of `plans.LIMITS` admits it; else 429
    /report                                   what became of such orders since the last report; a new model begins
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from collections.abc import Callable
from functools import cache

from bench.plans import LIMITS
from bench.server_models import AtRandom

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mPQyp8OAAH3ATEjw1BhAAAAAElFTkSuQmCC")
HEAD = "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}\r\n"
USAGE = {"credits_used": 26465, "usd_spent": 0.0132325}


def http(body: bytes, *, status: str = "200 OK", kind: str = "application/json", more: str = "") -> bytes:
    return HEAD.format(status=status, kind=kind, length=len(body), more=more).encode() + body


@cache
def image(size: int) -> bytes:
    """A file of this size in bytes that begins like a PNG."""
    return (PIXEL + random.Random(size).randbytes(size))[: max(size, len(PIXEL))]  # noqa: S311 - the same each time


@cache
def answer(form: str, size: int, address: str, delay: str = "0") -> bytes:
    entry = {"b64_json": None, "url": f"http://{address}/image-{size}-{delay}.png"}
    if form == "b64":
        entry = {"b64_json": base64.b64encode(image(size)).decode(), "url": None}
    return http(json.dumps({"created": 1, "data": [entry], "meta": {"usage": USAGE}}).encode())


@cache
def download(size: int) -> bytes:
    return http(image(size), kind="image/png")


class Limit:
    """One of the laboratory's models of servers, on a clock that starts with the first order."""

    def __init__(self, name: str, seed: int) -> None:
        self.model = LIMITS[name][1]()
        if isinstance(self.model, AtRandom):
            self.model.chance = random.Random(seed)  # noqa: S311 - the same for each contestant
        self.started = time.monotonic()
        self.seconds = 0.0  # until the last answer
        self.open = self.refused = 0

    def now(self) -> float:
        return time.monotonic() - self.started

    def refusal(self) -> bytes | None:
        """The answer to an order that is not admitted."""
        if self.model.admits(self.now(), self.open):
            self.open += 1
            return None
        self.refused += 1
        wait = f"Retry-After: {self.model.retry_after(self.now()):g}\r\n"
        return http(json.dumps({"message": self.model.message}).encode(), status="429 Too Many Requests", more=wait)

    def end(self) -> None:
        self.open -= 1
        self.seconds = self.now()


class Gate:
    """Holds answers back until enough requests are open, so that they really are in flight together."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def enter(self, number: int, go: Callable[[], None]) -> None:
        self.waiting.append(go)
        if len(self.waiting) >= number:
            waiting, self.waiting = self.waiting, []
            for each in waiting:
                each()


class Connection(asyncio.Protocol):
    """Minimal HTTP/1.1: requests with Content-Length, one after the other."""

    limit: Limit | None = None  # of all connections

    def __init__(self, address: str, gate: Gate) -> None:
        self._address = address
        self._gate = gate
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, ended, body = self._buffer.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if ended and len(body) >= length:
            self._buffer = body[length:]
            self._respond(head.split(b" ", 2)[1].decode())

    def _respond(self, path: str) -> None:
        word, *numbers = path.split("/")[1].removesuffix(".png").split("-")
        match word:
            case "b64" | "url":
                ready = answer(word, int(numbers[0]), self._address, *numbers[2:])
                self._gate.enter(int(numbers[1]), lambda: self._send(ready))
            case "image":
                asyncio.get_running_loop().call_later(float(numbers[1]), self._send, download(int(numbers[0])))
            case "limited":
                Connection.limit = limit = Connection.limit or Limit(numbers[0], int(numbers[2]))
                if refusal := limit.refusal():
                    self._send(refusal)
                else:
                    asyncio.get_running_loop().call_later(float(numbers[1]), self._end, limit)
            case _:
                ended, Connection.limit = Connection.limit, None
                self._send(http(json.dumps(ended and {"refused": ended.refused, "seconds": ended.seconds}).encode()))

    def _end(self, limit: Limit) -> None:
        limit.end()
        self._send(answer("b64", 0, self._address))

    def _send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


async def serve() -> None:
    """Serve until killed. Prints the address as the first line."""
    gate = Gate()
    address = ""
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(address, gate), "127.0.0.1", 0, backlog=4096
    )
    host, port = server.sockets[0].getsockname()
    address = f"{host}:{port}"
    print(address, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
