"""Connections of our own beneath httpcore: real sockets, with and without TLS."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpcore
import pytest
import trustme

from aimlapi_images.transports.addresses import alternating
from aimlapi_images.transports.streams import AsyncioBackend

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def all_of(stream: httpcore.AsyncNetworkStream) -> list[bytes]:
    pieces = []
    while piece := await stream.read(10, timeout=5):
        pieces.append(piece)
    return pieces


async def test_what_comes_is_handed_over_whole_and_in_order() -> None:
    sent = bytes(range(256)) * 8192

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(5)
        writer.write(sent)
        await writer.drain()

    async with listening(serve) as port:
        stream = await AsyncioBackend().connect_tcp("127.0.0.1", port, timeout=5)
        await stream.write(b"hello", timeout=5)
        pieces = await all_of(stream)
        await stream.aclose()

    assert b"".join(pieces) == sent
    assert len(pieces) < len(sent) / 4096


async def test_no_more_is_taken_than_is_read() -> None:
    taken = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        writer.transport.set_write_buffer_limits(high=0)
        for _ in range(400):
            writer.write(b"x" * 65_536)
            await writer.drain()
            taken += 65_536

    async with listening(serve) as port:
        options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)]
        stream = await AsyncioBackend().connect_tcp("127.0.0.1", port, timeout=5, socket_options=options)
        before = -1
        while taken != before:  # until the server has to wait
            before = taken
            await asyncio.sleep(0.1)
        await stream.aclose()

    assert taken < 400 * 65_536 / 2


async def test_with_tls_it_is_the_same() -> None:
    authority = trustme.CA()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(theirs)
    authority.configure_trust(ours)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(300_000))
        await writer.drain()

    async with listening(serve, theirs) as port:
        plain = await AsyncioBackend().connect_tcp("127.0.0.1", port, timeout=5)
        stream = await plain.start_tls(ours, "localhost", timeout=5)
        await stream.write(b"y" * 300_000, timeout=5)
        received = 0
        while received < 300_000:
            received += len(await stream.read(65_536, timeout=5))
        tls = stream.get_extra_info("ssl_object")
        await stream.aclose()

    assert received == 300_000
    assert tls.version().startswith("TLS")


async def test_a_certificate_that_is_not_trusted_ends_the_connection() -> None:
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(theirs)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(serve, theirs) as port:
        plain = await AsyncioBackend().connect_tcp("127.0.0.1", port, timeout=5)
        with pytest.raises(httpcore.ConnectError, match="certificate"):
            await plain.start_tls(ssl.create_default_context(), "localhost", timeout=5)


async def test_each_trouble_has_its_error() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    backend = AsyncioBackend()
    async with listening(silent) as port:
        stream = await backend.connect_tcp("127.0.0.1", port, timeout=5)
        with pytest.raises(httpcore.ReadTimeout):
            await stream.read(10, timeout=0.01)
        with pytest.raises(httpcore.WriteTimeout):
            await stream.write(b"x" * 100_000_000, timeout=0.05)
        with pytest.raises(httpcore.ConnectTimeout):
            await stream.start_tls(ssl.create_default_context(), "localhost", timeout=0.05)
        await stream.aclose()
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"x")
    with pytest.raises(httpcore.ConnectError):
        await backend.connect_tcp("127.0.0.1", port, timeout=5)
    with pytest.raises(httpcore.ConnectError):
        await backend.connect_tcp("no-such-host.invalid", 80, timeout=5)


async def test_a_reset_is_an_error_and_an_end_is_none() -> None:
    ending = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(1) == b"r":
            # What is not sent in time is dropped, and the other side is told so: a reset.
            options = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, options)
        ending.set()

    async with listening(serve) as port:
        resetting, ended = [await AsyncioBackend().connect_tcp("127.0.0.1", port, timeout=5) for _ in range(2)]
        await resetting.write(b"r")
        await ending.wait()
        with pytest.raises(httpcore.ReadError):
            await resetting.read(10, timeout=5)
        await ended.write(b"e")
        assert await ended.read(10, timeout=5) == b""
        assert await ended.read(10, timeout=5) == b""
        await resetting.aclose()
        await ended.aclose()


async def test_an_idle_connection_tells_that_its_server_is_gone() -> None:
    leave = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await leave.wait()

    async with listening(serve) as port:
        stream = await AsyncioBackend().connect_tcp("127.0.0.1", port, timeout=5)
        idle = stream.get_extra_info("is_readable")
        leave.set()
        while not stream.get_extra_info("is_readable"):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        address = stream.get_extra_info("server_addr")
        await stream.aclose()

    assert not idle
    assert address == ("127.0.0.1", port)
    assert stream.get_extra_info("is_readable")


async def test_cancelling_while_it_connects_leaves_no_socket() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def connect(port: int) -> None:
        stream = await AsyncioBackend().connect_tcp("localhost", port, timeout=5)
        await stream.aclose()

    async with listening(serve) as port:
        for turns in range(40):
            tasks = [asyncio.create_task(connect(port)) for _ in range(4)]
            for _ in range(turns % 10):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    gc.collect()  # what is left open warns now, and a warning is an error


def test_addresses_of_both_families_are_tried_in_turn() -> None:
    found = [(family, 1, 6, "", (address, 80)) for family, address in [(10, "::1"), (10, "::2"), (2, "1.1.1.1")]]

    assert alternating(found) == ["::1", "1.1.1.1", "::2"]
