"""The contestants: each gets one image for a prompt, into memory or into a file.

All do the same job: they get the whole image, decode its base64, and limit the number of requests in flight.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

MODEL = "openai/gpt-image-1-5"
PATH = "/v1/images/generations"
CHUNK = 256 * 2**10

Generate = Callable[[str, Path | None], Awaitable[int]]
"""Gets one image, into memory or into a file. Returns its size in bytes."""


@asynccontextmanager
async def ours(base_url: str, in_flight: int, *, transport: Any = None) -> AsyncIterator[Generate]:
    from aimlapi_images import ImageClient

    async with ImageClient("key", base_url=base_url, max_concurrency=in_flight, transport=transport) as client:

        async def generate(prompt: str, to: Path | None) -> int:
            image = await client.generate(prompt, to=to)
            # An image in a file is not read back into memory.
            return image.path.stat().st_size if image.path else len(image.data)

        yield generate


@asynccontextmanager
async def ours_aiohttp(base_url: str, in_flight: int) -> AsyncIterator[Generate]:
    from aimlapi_images import aiohttp_transport

    async with ours(base_url, in_flight, transport=aiohttp_transport()) as generate:
        yield generate


async def batch_of_ours(base_url: str, in_flight: int, orders: int, out: Path) -> list[int]:
    """Get all images as one batch, which keeps its state. Returns their sizes."""
    from aimlapi_images import ImageClient
    from aimlapi_images.batch import run_batch

    jobs = ({"id": str(number), "prompt": f"number {number}"} for number in range(orders))
    async with ImageClient("key", base_url=base_url, max_concurrency=in_flight) as client:
        return [result.bytes async for result in run_batch(client, jobs, out=out) if result.bytes is not None]


@asynccontextmanager
async def openai(base_url: str, in_flight: int, **settings: Any) -> AsyncIterator[Generate]:
    import httpx
    from openai import AsyncOpenAI

    async def fetch(url: str) -> bytes:
        return (await downloads.get(url)).content

    async with (
        httpx.AsyncClient(limits=httpx.Limits(max_connections=None)) as downloads,
        AsyncOpenAI(api_key="key", base_url=f"{base_url}/v1", **settings) as client,
    ):

        async def image(prompt: str) -> bytes:
            answer = await client.images.generate(model=MODEL, prompt=prompt)
            assert answer.data
            entry = answer.data[0]
            return await fetch(entry.url or "") if entry.b64_json is None else base64.b64decode(entry.b64_json)

        yield limited(image, in_flight)


@asynccontextmanager
async def openai_aiohttp(base_url: str, in_flight: int) -> AsyncIterator[Generate]:
    from openai import DefaultAioHttpClient

    async with openai(base_url, in_flight, http_client=DefaultAioHttpClient()) as generate:
        yield generate


@asynccontextmanager
async def plain_httpx(base_url: str, in_flight: int) -> AsyncIterator[Generate]:
    import httpx

    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=300) as client:

        async def image(prompt: str) -> bytes:
            answer = await client.post(base_url + PATH, json={"model": MODEL, "prompt": prompt})
            entry = answer.json()["data"][0]
            if entry["b64_json"] is None:
                return (await client.get(entry["url"])).content
            return base64.b64decode(entry["b64_json"])

        yield limited(image, in_flight)


@asynccontextmanager
async def plain_aiohttp(base_url: str, in_flight: int) -> AsyncIterator[Generate]:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def image(prompt: str) -> bytes:
            async with session.post(base_url + PATH, json={"model": MODEL, "prompt": prompt}) as answer:
                entry = json.loads(await answer.read())["data"][0]
            if entry["b64_json"] is None:
                async with session.get(entry["url"]) as file:
                    return await file.read()
            return base64.b64decode(entry["b64_json"])

        yield limited(image, in_flight)


@asynccontextmanager
async def raw_socket(base_url: str, in_flight: int) -> AsyncIterator[Generate]:
    """The floor: minimal HTTP, no JSON parser, and nothing is checked."""
    import socket

    import pybase64

    host, _, port = base_url.removeprefix("http://").partition("/")[0].partition(":")
    root = base_url.removeprefix(f"http://{host}:{port}")
    loop = asyncio.get_running_loop()
    idle: list[socket.socket] = []

    async def ask(request: bytes) -> bytearray:
        if idle:
            connection = idle.pop()
        else:
            connection = socket.socket()
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(connection, (host, int(port)))
        await loop.sock_sendall(connection, request)
        head = await loop.sock_recv(connection, CHUNK)
        start = head.index(b"\r\n\r\n") + 4
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        body = bytearray(length)
        filled = len(head) - start
        body[:filled] = head[start:]
        view = memoryview(body)
        while filled < length:
            filled += await loop.sock_recv_into(connection, view[filled : filled + CHUNK])
        idle.append(connection)
        return body

    async def image(prompt: str) -> bytes:
        body = json.dumps({"model": MODEL, "prompt": prompt}).encode()
        head = f"POST {root}{PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
        answer = await ask(head.encode() + body)
        if (start := answer.find(b'"b64_json": "')) >= 0:
            start += 13
            return pybase64.b64decode(memoryview(answer)[start : answer.index(b'"', start)], validate=True)
        url = json.loads(answer)["data"][0]["url"]
        target = url.partition(base_url.partition(root)[0])[2] if root else url
        return bytes(await ask(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()))

    yield limited(image, in_flight)
    for connection in idle:
        connection.close()


def limited(image: Callable[[str], Awaitable[bytes]], in_flight: int) -> Generate:
    """Add what a client without its own limit and files needs from its user."""
    slots = asyncio.Semaphore(in_flight)

    async def generate(prompt: str, to: Path | None) -> int:
        async with slots:
            data = await image(prompt)
            if to is not None:
                await asyncio.to_thread(to.with_suffix(".png").write_bytes, data)
            return len(data)

    return generate


BATCH = "ours, as a batch"

CONTESTANTS: dict[str, Callable[[str, int], AbstractAsyncContextManager[Generate]]] = {
    "ours": ours,
    "ours, aiohttp": ours_aiohttp,
    "openai": openai,
    "openai, aiohttp": openai_aiohttp,
    "openai, endless retries": partial(openai, max_retries=10**6),
    "httpx": plain_httpx,
    "aiohttp": plain_aiohttp,
    "raw socket": raw_socket,
}
