"""What carries requests, on real sockets: above all, that nothing which was sent looks as if it was not."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import ssl
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import trustme

from aimlapi_images import ImageClient, RetryPolicy, aiohttp_transport, errors
from aimlapi_images.api.aiohttp_transport import _ERRORS
from conftest import KEY, PIXEL, PIXEL_ANSWER

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

ANSWER = httpx.Response(200, json=PIXEL_ANSWER).content
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
RETRY = RetryPolicy(first_wait=0.0, attempts=3)


Transport = httpx.AsyncBaseTransport | None
Make = Callable[..., Transport]


def default_transport(verify: ssl.SSLContext | None = None) -> Transport:
    """What a client makes by itself, or the same with other certificates."""
    return None if verify is None else httpx.AsyncHTTPTransport(verify=verify)


@pytest.fixture(params=[default_transport, aiohttp_transport], ids=["httpx", "aiohttp"])
def make(request: pytest.FixtureRequest) -> Make:
    maker: Make = request.param
    return maker


@pytest.fixture
def ours(make: Make) -> Transport:
    return make()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return head + await reader.readexactly(int(length or 0))


@asynccontextmanager
async def server(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client hung up
        finally:
            writer.close()

    running = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{running.sockets[0].getsockname()[1]}"
    finally:
        running.close()


class Answering:
    """Answers each request on a connection with the next of the given bytes, then hangs up."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = answers
        self.requests: list[bytes] = []
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for answer in self.answers:
            self.requests.append(await read_request(reader))
            writer.write(answer)
            await writer.drain()


async def test_a_kept_connection_that_breaks_is_unknown(ours: Transport) -> None:
    handler = Answering(OK, b"")
    async with server(handler) as url, ImageClient(KEY, base_url=url, retry=RETRY, transport=ours) as client:
        first = await client.generate("x")
        with pytest.raises(errors.OutcomeUnknownError):
            await client.generate("y")

    assert first.data == PIXEL
    assert (handler.connections, len(handler.requests)) == (1, 2)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def test_certificates_of_ones_own_authority(make: Make, authority: trustme.CA, tls: ssl.SSLContext) -> None:
    context = httpx.create_ssl_context()
    authority.configure_trust(context)
    async with (
        server(Answering(OK), tls) as url,
        ImageClient(KEY, base_url=url, transport=make(verify=context)) as client,
    ):
        image = await client.generate("x")

    assert image.data == PIXEL


async def test_certificates_named_by_the_environment(
    make: Make,
    authority: trustme.CA,
    tls: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    async with server(Answering(OK), tls) as url, ImageClient(KEY, base_url=url, transport=make()) as client:
        image = await client.generate("x")

    assert image.data == PIXEL


async def test_certificates_are_loaded_once_for_all_clients_until_the_environment_changes(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    loaded: list[ssl.SSLContext] = []
    load = httpx.create_ssl_context

    def counted() -> ssl.SSLContext:
        loaded.append(load())
        return loaded[-1]

    monkeypatch.setattr(httpx, "create_ssl_context", counted)

    for _ in range(3):
        await ImageClient(KEY).aclose()
    before = len(loaded)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    for _ in range(3):
        await ImageClient(KEY).aclose()

    assert before <= 1  # an earlier test may have loaded them
    assert len(loaded) == before + 1


async def test_certificates_that_are_not_trusted_name_the_variable_that_helps(make: Make, tls: ssl.SSLContext) -> None:
    once = RetryPolicy(attempts=1)
    async with (
        server(Answering(OK), tls) as url,
        ImageClient(KEY, base_url=url, transport=make(), retry=once) as client,
    ):
        with pytest.raises(errors.ConnectionFailedError) as caught:
            await client.generate("x")

    assert "SSL_CERT_FILE names the file of trusted certificates" in str(caught.value)
    assert "REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE are not read" in str(caught.value)


@pytest.mark.parametrize("content", [None, "", "not a certificate"])
def test_certificates_that_cannot_be_loaded_name_their_variable(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "authority.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))

    with pytest.raises(errors.InvalidRequestError, match=f"SSL_CERT_FILE={re.escape(str(file))}"):
        ImageClient(KEY, transport=make())


async def test_compressed_answers_are_read(ours: Transport) -> None:
    body = gzip.compress(ANSWER)
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    async with server(Answering(answer)) as url, ImageClient(KEY, base_url=url, transport=ours) as client:
        image = await client.generate("x")

    assert image.data == PIXEL


async def test_long_headers_are_read(ours: Transport) -> None:
    answer = OK.replace(b"\r\n\r\n", b"\r\nContent-Security-Policy: %b\r\n\r\n" % (b"x" * 30_000), 1)
    async with server(Answering(answer)) as url, ImageClient(KEY, base_url=url, transport=ours) as client:
        image = await client.generate("x")

    assert image.data == PIXEL


async def test_requests_go_out_as_httpx_made_them(ours: Transport) -> None:
    handler = Answering(OK)
    async with server(handler) as url, httpx.AsyncClient(transport=ours) as client:
        # A signature of an image's URL, in which each escape counts.
        target = "/a%2Fb%20c.png?sig=a%2Bb%2F%7E+c%3D&x=%E4%BD%A0"
        await client.get(url + target, headers=[("X-One", "1"), ("X-One", "2")])

    head = handler.requests[0].decode()
    names = [line.partition(":")[0].lower() for line in head.splitlines()[1:] if line]
    assert head.startswith(f"GET {target} HTTP/1.1\r\n")
    assert sorted(names) == ["accept", "accept-encoding", "connection", "host", "user-agent", "x-one", "x-one"]


async def test_no_cookie_is_kept(ours: Transport) -> None:
    handler = Answering(OK.replace(b"OK\r\n", b"OK\r\nSet-Cookie: a=b\r\n", 1), OK)
    async with server(handler) as url, ImageClient(KEY, base_url=url, transport=ours) as client:
        for _ in range(2):
            await client.generate("x")

    assert len(handler.requests) == 2
    assert all(b"ookie" not in request for request in handler.requests)


async def test_logins_in_a_netrc_do_not_replace_the_key(
    ours: Transport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    handler = Answering(OK)
    async with server(handler) as url, ImageClient(KEY, base_url=url, transport=ours) as client:
        await client.generate("x")

    assert f"Bearer {KEY}".encode() in handler.requests[0]


@pytest.mark.parametrize("size", [0, 1000, 300_000, 5_000_000])
@pytest.mark.parametrize("multipart", [False, True])
async def test_bodies_arrive_as_they_are(ours: Transport, size: int, multipart: bool) -> None:
    handler = Answering(OK)
    data = bytes(range(256)) * (size // 256 + 1)
    more: dict[str, Any] = {"files": {"image": data[:size]}} if multipart else {"content": data[:size]}
    async with server(handler) as url, httpx.AsyncClient(transport=ours) as client:
        response = await client.post(url, **more)

    _, _, body = handler.requests[0].partition(b"\r\n\r\n")
    assert response.content == ANSWER
    assert data[:size] in body
    assert multipart or body == data[:size]


async def test_a_body_of_unknown_length_is_sent_in_chunks(ours: Transport) -> None:
    sent = bytearray()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent.extend(await reader.readuntil(b"0\r\n\r\n"))
        writer.write(OK)

    async def content() -> AsyncIterator[bytes]:
        yield b"hello"

    async with server(take) as url, httpx.AsyncClient(transport=ours) as client:
        response = await client.post(url, content=content())

    assert response.status_code == 200
    assert sent.lower().count(b"transfer-encoding: chunked") == 1
    assert sent.endswith(b"5\r\nhello\r\n0\r\n\r\n")


async def test_a_server_that_takes_no_more_is_given_up(ours: Transport) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await writer.wait_closed()

    async with server(deaf) as url, httpx.AsyncClient(transport=ours, timeout=httpx.Timeout(2, write=0.2)) as client:
        with pytest.raises(httpx.WriteTimeout):
            await client.post(url, content=bytes(50_000_000))


async def test_a_cancelled_request_closes_its_connection(ours: Transport) -> None:
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        arrived.set()
        assert await reader.read() == b""
        closed.set()

    async with server(wait) as url, ImageClient(KEY, base_url=url, transport=ours) as client:
        order = asyncio.create_task(client.generate("x"))
        await arrived.wait()
        order.cancel()
        with pytest.raises(asyncio.CancelledError):
            await order
        await asyncio.wait_for(closed.wait(), 30)


async def test_a_body_that_is_not_read_closes_its_connection(ours: Transport) -> None:
    handler = Answering(OK + OK, OK)
    async with server(handler) as url, httpx.AsyncClient(transport=ours) as client:
        for _ in range(2):
            async with client.stream("GET", url) as response:
                assert response.status_code == 200

    assert handler.connections == 2


@pytest.mark.parametrize(("keepalive", "connections"), [(30, 1), (0, 2)])
async def test_how_long_idle_connections_are_kept(make: Make, keepalive: float, connections: int) -> None:
    handler = Answering(OK, OK)
    transport = aiohttp_transport(keepalive=keepalive) if make is aiohttp_transport else None
    async with (
        server(handler) as url,
        ImageClient(KEY, base_url=url, transport=transport, keepalive=keepalive) as client,
    ):
        await client.generate("x")
        await asyncio.sleep(0)
        await client.generate("x")

    assert handler.connections == connections


async def test_connections_are_used_again_and_as_many_as_it_takes(make: Make) -> None:
    together = asyncio.Barrier(16)
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await read_request(reader)
            await together.wait()
            writer.write(OK)

    # The throttle starts no more than 16 orders in the first second.
    transport = aiohttp_transport(keepalive=30) if make is aiohttp_transport else None
    async with server(handle) as url, ImageClient(KEY, base_url=url, transport=transport, keepalive=30) as client:
        for _ in range(2):
            await asyncio.gather(*(client.generate(f"{number}") for number in range(16)))

    assert connections == 16


@pytest.mark.parametrize("name", ["HTTP_PROXY", "all_proxy"])
async def test_proxies_of_the_environment_are_used(make: Make, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    handler = Answering(OK)
    async with server(handler) as url:
        monkeypatch.setenv(name, url.replace("http://", "http://me:p%40ss@"))
        monkeypatch.delenv("REQUEST_METHOD", raising=False)
        async with ImageClient(KEY, base_url="http://api.local", transport=make()) as client:
            image = await client.generate("x")

    assert image.data == PIXEL
    assert handler.requests[0].startswith(b"POST http://api.local/v1/images/generations HTTP/1.1\r\n")
    assert b"proxy-authorization: basic bwu6cebzcw==\r\n" in handler.requests[0].lower()


async def test_hosts_that_need_no_proxy_are_reached_without(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with server(Answering(OK)) as url, ImageClient(KEY, base_url=url, transport=make()) as client:
        image = await client.generate("x")

    assert image.data == PIXEL


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_wants_a_login_is_told_as_such(
    make: Make, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    handler = Answering(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    async with server(handler) as url:
        monkeypatch.setenv("ALL_PROXY", url)
        client = ImageClient(KEY, base_url=f"{scheme}://api.local", transport=make(), retry=RetryPolicy(attempts=1))
        async with client:
            with pytest.raises(errors.ImageError, match=r"(?i)407.*prox") as caught:
                await client.generate("x")

    assert not caught.value.may_be_billed
    assert KEY.encode() not in b"".join(handler.requests) or scheme == "http"


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", b""], ids=["407", "hangs up"]
)
async def test_a_proxy_that_makes_no_tunnel_was_not_sent(
    make: Make, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    handler = Answering(answer)
    async with server(handler) as url:
        monkeypatch.setenv("HTTPS_PROXY", url.replace("http://", "http://me:p%40ss@"))
        client = ImageClient(KEY, base_url="https://api.example", transport=make(), retry=RetryPolicy(attempts=1))
        async with client:
            with pytest.raises(errors.ImageError) as caught:
                await client.generate("x")

    assert handler.requests[0].startswith(b"CONNECT api.example:443 HTTP/1.1\r\n")
    assert b"proxy-authorization: basic bwu6cebzcw==" in handler.requests[0].lower()
    assert KEY.encode() not in b"".join(handler.requests)
    assert answer == b"" or isinstance(caught.value, errors.ConnectionFailedError)


PROXIES = [
    ({"HTTPS_PROXY": "http://p:1"}, "https://a.example", "http://p:1"),
    ({"https_proxy": "p:1"}, "https://a.example", "http://p:1"),
    ({"HTTPS_PROXY": "http://p:1"}, "http://a.example", None),
    ({"ALL_PROXY": "http://p:1"}, "http://a.example", "http://p:1"),
    ({"ALL_PROXY": "http://p:1", "HTTP_PROXY": "http://q:1"}, "http://a.example", "http://q:1"),
    ({"ALL_PROXY": "http://p:1", "NO_PROXY": "*"}, "http://a.example", None),
    ({"ALL_PROXY": "http://p:1", "NO_PROXY": "b.example, a.example"}, "http://a.example", None),
    ({"ALL_PROXY": "http://p:1", "NO_PROXY": "example"}, "http://a.example", None),
    ({"ALL_PROXY": "http://p:1", "NO_PROXY": ".example"}, "http://a.example:8080", None),
    ({"ALL_PROXY": "http://p:1", "NO_PROXY": "a.example:8080"}, "http://a.example:8080", None),
    ({"ALL_PROXY": "http://p:1", "NO_PROXY": "a.example:8080"}, "http://a.example:8081", "http://p:1"),
    ({"ALL_PROXY": "http://p:1", "NO_PROXY": "ample"}, "http://a.example", "http://p:1"),
    ({"ALL_PROXY": "http://p:1", "NO_PROXY": "::1"}, "http://[::1]:80", None),
    ({"ALL_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, "http://10.1.2.3", "http://p:1"),
    ({}, "http://a.example", None),
]


@pytest.mark.parametrize(("environment", "url", "expected"), PROXIES)
def test_which_proxy_is_for_a_url(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, expected: str | None
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    proxy = aiohttp_transport()._find_proxy(httpx.URL(url))

    assert expected == (proxy and str(proxy.url))


@pytest.mark.parametrize(
    ("make", "proxy"),
    [
        (default_transport, "ftp://127.0.0.1:1"),
        (aiohttp_transport, "ftp://127.0.0.1:1"),
        (aiohttp_transport, "http://"),
    ],
)
def test_an_invalid_proxy_is_refused_at_once(make: Make, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    with pytest.raises(errors.InvalidRequestError, match=r"(?i)prox"):
        ImageClient(KEY, base_url="https://127.0.0.1", transport=make())  # which NO_PROXY lists


@pytest.mark.parametrize("proxy", ["http://me:se:cret@h:po", "ftp://me:secret@h", "http://me:secret@[::1"])
def test_an_invalid_proxy_is_refused_without_its_password(
    make: Make, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    with pytest.raises(errors.InvalidRequestError, match="_PROXY") as caught:
        ImageClient(KEY, transport=make())

    assert "cret" not in "".join(traceback.format_exception(caught.value)).replace(proxy, "")


def test_a_socks_proxy_is_refused_by_aiohttp_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://me:secret@127.0.0.1:1")

    with pytest.raises(errors.InvalidRequestError, match="ALL_PROXY: aiohttp supports") as caught:
        aiohttp_transport()

    assert "secret" not in str(caught.value)


def test_aiohttp_transport_says_which_extra_it_needs() -> None:
    code = """
import sys
sys.modules["aiohttp"] = None
try:
    from aimlapi_images import aiohttp_transport
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})

    assert done.stdout.startswith('aiohttp_transport() needs the extra "aiohttp": ')


def test_every_error_of_aiohttp_becomes_one_of_httpx() -> None:
    def kinds(of: type[BaseException]) -> Iterator[type[BaseException]]:
        yield of
        for each in of.__subclasses__():
            yield from kinds(each)

    mapped = {
        kind: next((to for of, to in _ERRORS if issubclass(kind, of)), httpx.ReadError)
        for kind in kinds(aiohttp.ClientError)
    }
    not_sent = {kind for kind, to in mapped.items() if issubclass(to, httpx.ConnectError | httpx.ConnectTimeout)}

    assert {aiohttp.ConnectionTimeoutError, *kinds(aiohttp.ClientConnectorError)} == not_sent
    assert [kind for kind, to in mapped.items() if to is httpx.ProxyError] == [aiohttp.ClientHttpProxyError]


async def test_closing_twice_or_unused_is_fine() -> None:
    ours = aiohttp_transport()
    await ours.aclose()
    await ours.aclose()


async def test_a_response_that_is_closed_after_its_transport_does_no_harm() -> None:
    ours = aiohttp_transport()
    async with server(Answering(OK)) as url:
        response = await ours.handle_async_request(httpx.Request("GET", url))
        await ours.aclose()
        await response.aclose()
        await response.aclose()

    assert response.is_closed
