"""Images are fetched from public addresses only, judged by what is connected to."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from aimlapi_images import ImageClient, RetryPolicy, errors
from aimlapi_images.api.ssrf import UntrustedURLError, guarded, is_public
from conftest import KEY, PIXEL, Script, scripted

ADDRESSES = [
    ("8.8.8.8", True),
    ("2606:4700::1111", True),
    ("127.0.0.1", False),
    ("10.1.2.3", False),
    ("172.16.0.1", False),
    ("192.168.1.1", False),
    ("169.254.169.254", False),
    ("100.64.0.1", False),
    ("0.0.0.0", False),  # noqa: S104 - not bound to
    ("224.0.0.1", False),
    ("255.255.255.255", False),
    ("::", False),
    ("::1", False),
    ("fe80::1", False),
    ("fc00::1", False),
    ("ff02::1", False),
    ("::ffff:8.8.8.8", True),
    ("::ffff:127.0.0.1", False),
    ("64:ff9b::8.8.8.8", True),
    ("64:ff9b::10.0.0.1", False),
    ("2002:7f00:1::", False),
    ("2002:808:808::", True),
]


@pytest.mark.parametrize(("address", "expected"), ADDRESSES)
def test_an_address_is_public_or_not(address: str, expected: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is expected


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/a.png",
        "https://[::1]/a.png",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:10.0.0.1]/a.png",
        "https://10.0.0.1:8443/a.png",
    ],
)
async def test_an_address_that_is_not_public_is_not_even_connected_to(url: str) -> None:
    client, script = scripted(httpx.Response(200, json={"data": [{"url": url}]}))

    with pytest.raises(errors.DownloadError, match="is not public") as caught:
        await client.generate("x")

    assert caught.value.url == url
    assert len(script.requests) == 1


async def test_a_redirect_to_one_is_refused_as_well() -> None:
    client, script = scripted(
        httpx.Response(200, json={"data": [{"url": "https://cdn.example/a.png"}]}),
        httpx.Response(302, headers={"location": "https://192.168.0.1/a.png"}),
    )

    with pytest.raises(errors.DownloadError, match=r"192\.168\.0\.1, which is not public"):
        await client.generate("x")

    assert len(script.requests) == 2


@pytest.fixture
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """A server that keeps what it is sent, until the other side hangs up."""
    received: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                received.append(connection.recv(100))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()[1], received
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


async def test_a_name_that_leads_to_one_is_hung_up_on_before_anything_is_sent(
    listener: tuple[int, list[bytes]],
) -> None:
    port, received = listener
    url = f"https://localhost:{port}/a.png"
    script = Script(httpx.Response(200, json={"data": [{"url": url}]}))
    retry = RetryPolicy(first_wait=0.0)

    async with ImageClient(
        KEY, transport=script.transport, download_transport=httpx.AsyncHTTPTransport(), retry=retry
    ) as client:
        with pytest.raises(errors.DownloadError, match=r"localhost leads to .*, which is not public"):
            await client.generate("x")

    assert [each for each in received if each] == []
    assert len(received) <= 1  # and it is not tried again


async def test_a_proxy_may_be_where_it_likes(listener: tuple[int, list[bytes]]) -> None:
    port, received = listener
    async with httpx.AsyncClient(proxy=f"http://127.0.0.1:{port}") as http:
        with pytest.raises(httpx.TransportError):
            await http.get("https://cdn.example/a.png", extensions=guarded(httpx.URL("https://cdn.example/")))

    assert received[0].startswith(b"CONNECT cdn.example:443 ")


async def test_without_the_guard_the_same_connection_is_made(listener: tuple[int, list[bytes]]) -> None:
    port, received = listener
    async with httpx.AsyncClient() as http:
        with pytest.raises(UntrustedURLError):
            await http.get(f"http://localhost:{port}/", extensions=guarded(httpx.URL("http://localhost/")))
        with pytest.raises(httpx.TransportError):
            await http.get(f"http://localhost:{port}/")

    assert received[-1].startswith(b"GET / HTTP/1.1")


async def test_the_api_itself_may_be_anywhere(emulator_url: str) -> None:
    async with ImageClient(KEY, base_url=emulator_url) as client:
        image = await client.generate("x", response_format="url")

    assert image.url is not None
    assert image.url.startswith("http://127.0.0.1")
    assert image.data != PIXEL
