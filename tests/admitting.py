"""A server with a rate limit on a real port, and clients in other processes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from conftest import KEY, PIXEL_ANSWER

_CLIENT = """
import asyncio, sys
from aimlapi_images import GeneratedImage, ImageClient

async def main(key, base_url, orders):
    async with ImageClient(key, base_url=base_url, max_concurrency=200) as client:
        calls = (client.generate(str(number)) for number in range(int(orders)))
        results = await asyncio.gather(*calls, return_exceptions=True)
    print(sum(isinstance(each, GeneratedImage) for each in results))

asyncio.run(main(*sys.argv[1:]))
"""


@attrs.define
class AdmittingServer:
    """A server that admits generations by a token bucket, and refuses others with 429.

    Attributes:
        rate: Generations per second.
        burst: Size of the bucket.
        seconds: Duration of a generation.
        retry_after: `Retry-After` of refusals, in seconds.
        starts: Start of each generation, by the loop's clock in seconds.
        refused: Number of refusals.
        open: Number of generations in progress.
        origin: The server's address.
    """

    rate: float
    burst: float
    seconds: float
    retry_after: float
    starts: list[float] = attrs.field(factory=list, init=False)
    refused: int = attrs.field(default=0, init=False)
    open: int = attrs.field(default=0, init=False)
    origin: str = attrs.field(default="", init=False)
    _tokens: float = attrs.field(default=0.0, init=False)
    _at: float = attrs.field(default=0.0, init=False)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[AdmittingServer]:
        """Run the server until the block ends."""
        self._tokens, self._at = self.burst, asyncio.get_running_loop().time()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=2048)
        self.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                writer.write(await self._answer())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client closed the connection
        finally:
            writer.close()

    async def _answer(self) -> bytes:
        now = asyncio.get_running_loop().time()
        self._tokens, self._at = min(self.burst, self._tokens + (now - self._at) * self.rate), now
        if self._tokens < 1:
            self.refused += 1
            return _http("429 Too Many Requests", {"message": "Too Many Requests"}, f"Retry-After: {self.retry_after}")
        self._tokens -= 1
        self.starts.append(now)
        self.open += 1
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.open -= 1
        return _http("200 OK", PIXEL_ANSWER, "X-Server: here")


def _http(status: str, document: object, header: str) -> bytes:
    body = json.dumps(document).encode()
    return f"HTTP/1.1 {status}\r\n{header}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def order_from_processes(origin: str, processes: int, orders: int) -> list[int]:
    """Place `orders` orders at once in each of several processes. Returns how many images each process got."""
    environment = {**os.environ, "NO_PROXY": "127.0.0.1"}
    clients = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", _CLIENT, KEY, origin, str(orders), stdout=asyncio.subprocess.PIPE, env=environment
        )
        for _ in range(processes)
    ]
    return [int(out) for out, _ in await asyncio.gather(*(client.communicate() for client in clients))]
