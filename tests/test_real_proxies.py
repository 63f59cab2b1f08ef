"""Proxies that no one here wrote: one order is one request to the API behind them, whatever they answer.

`test_faults.py` has the same faults on raw sockets, which run wherever the programs below are not installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from aimlapi_images import GeneratedImage, ImageClient, aiohttp_transport, errors
from conftest import KEY, PIXEL_ANSWER
from misbehaving import DROP, MisbehavingServer, reply

NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/1; uwsgi_temp_path {folder}/2; scgi_temp_path {folder}/3;
    limit_req_zone all zone=all:64k rate=20r/s; limit_req_status 429;
    keepalive_timeout 1s;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{upstream}; {more} }}
    }}
}}
"""
SQUID = """
visible_hostname squid
cache deny all
access_log none
cache_log /dev/null
cache_store_log none
pid_filename none
netdb_filename none
pinger_enable off
max_filedescriptors 1024
shutdown_lifetime 0 seconds
"""
IN_FRONT = """
http_port 127.0.0.1:{port} accel defaultsite=api
cache_peer 127.0.0.1 parent {upstream} 0 no-query no-digest originserver
http_access allow all
"""
FORWARD = """
http_port 127.0.0.1:{port}
http_access allow all
"""
WITH_LOGIN = """
http_port 127.0.0.1:{port}
auth_param basic program /bin/cat
acl known proxy_auth REQUIRED
http_access allow known
"""
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen all
    bind 127.0.0.1:{port}
    server api 127.0.0.1:{upstream}
    {more}
"""


@contextlib.contextmanager
def running(name: str, config: str, arguments: Sequence[str], folder: Path, **values: Any) -> Iterator[str]:
    """Run a server with a configuration, until the block ends. Yields its origin."""
    program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip(f"needs {name}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    file = folder / f"{name}.conf"
    file.write_text(config.format(folder=folder, port=port, **values), encoding="ascii")
    with (folder / f"{name}.out").open("w+") as output:
        process = subprocess.Popen([program, *arguments, str(file)], stdout=output, stderr=output)
        try:
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                assert process.poll() is None, (folder / f"{name}.out").read_text()
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


@pytest.fixture(params=[None, aiohttp_transport], ids=["default", "aiohttp"])
def make_client(request: pytest.FixtureRequest) -> Callable[..., ImageClient]:
    """Returns a function that makes clients, for each transport that uses sockets."""

    def make(base_url: str, **options: Any) -> ImageClient:
        transport = request.param and request.param()
        return ImageClient(KEY, base_url=base_url, transport=transport, timeout=30, **options)

    return make


def nginx(folder: Path, upstream: int, more: str = "") -> AbstractContextManager[str]:
    return running("nginx", NGINX, ["-p", str(folder), "-e", "stderr", "-c"], folder, upstream=upstream, more=more)


def haproxy(folder: Path, upstream: int, more: str = "") -> AbstractContextManager[str]:
    return running("haproxy", HAPROXY, ["-f"], folder, upstream=upstream, more=more)


def squid(folder: Path, upstream: int, config: str = IN_FRONT) -> AbstractContextManager[str]:
    return running("squid", SQUID + config, ["-N", "-d", "1", "-f"], folder, upstream=upstream)


@pytest.mark.parametrize("proxy", [nginx, haproxy, squid])
async def test_what_the_api_took_before_the_connection_broke_is_sent_once(
    make_client: Callable[..., ImageClient], proxy: Callable[[Path, int], AbstractContextManager[str]], tmp_path: Path
) -> None:
    with MisbehavingServer([DROP]) as api, proxy(tmp_path, api.port) as origin:
        async with make_client(origin) as client:
            results: list[Any] = await asyncio.gather(*map(client.generate, "abcdefgh"), return_exceptions=True)

    assert api.count("POST") == 8
    assert [(type(error), error.may_be_billed) for error in results] == [(errors.ServerError, True)] * 8
    assert "HTTP 502: bad gateway" in str(results[0])
    assert "whether it was billed is unknown" in str(results[0])


@contextlib.asynccontextmanager
async def distant(origin: str, seconds: float) -> AsyncIterator[str]:
    """A relay to a server, through which bytes take `seconds` each way."""
    loop, relays = asyncio.get_running_loop(), []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relays.append(asyncio.current_task())
        there, back = await asyncio.open_connection(*origin.removeprefix("http://").split(":"))
        await asyncio.gather(pipe(reader, back), pipe(there, writer))

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(2**16):
                loop.call_later(seconds, writer.write, data)
        await asyncio.sleep(seconds)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        listening.close()
        await asyncio.gather(*filter(None, relays))


async def test_no_order_is_lost_on_connections_that_a_distant_server_closes(
    make_client: Callable[..., ImageClient], tmp_path: Path
) -> None:
    with MisbehavingServer([reply(200, PIXEL_ANSWER)]) as api, nginx(tmp_path, api.port) as origin:
        async with distant(origin, 0.06) as relay, make_client(relay) as client:
            # The server closes idle connections after a second: the client must not have sent an order meanwhile.
            for pause in (0.3, 0.88, 0.94, 0):
                await asyncio.gather(*map(client.generate, "abcdefgh"))
                await asyncio.sleep(pause)

    assert api.count("POST") == 32


async def test_refusals_of_a_proxy_in_html_slow_the_client_down(
    make_client: Callable[..., ImageClient], tmp_path: Path
) -> None:
    with (
        MisbehavingServer([reply(200, PIXEL_ANSWER)]) as api,
        nginx(tmp_path, api.port, "limit_req zone=all burst=4 nodelay;") as origin,
    ):
        async with make_client(origin) as client:
            images = await asyncio.gather(*map(client.generate, "abcdefghijkl"))

    assert len(images) == api.count("POST") == 12
    assert max(image.attempts for image in images) > 1


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:{port}", "https://api.example"])
async def test_a_forward_proxy_that_wants_a_login_is_told_as_such(
    make_client: Callable[..., ImageClient], base_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MisbehavingServer() as api, squid(tmp_path, api.port, WITH_LOGIN) as proxy:
        monkeypatch.delenv("NO_PROXY")
        monkeypatch.setenv("ALL_PROXY", proxy)
        async with make_client(base_url.format(port=api.port)) as client:
            with pytest.raises(errors.ImageError, match=r"407.*[Pp]roxy") as caught:
                await client.generate("x")

    assert not caught.value.may_be_billed
    assert api.requests == []


async def test_a_forward_proxy_passes_orders_on_once(
    make_client: Callable[..., ImageClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MisbehavingServer([reply(200, PIXEL_ANSWER), DROP]) as api, squid(tmp_path, api.port, FORWARD) as proxy:
        monkeypatch.delenv("NO_PROXY")
        monkeypatch.setenv("HTTP_PROXY", proxy)
        async with make_client(api.origin) as client:
            image = await client.generate("x")
            with pytest.raises(errors.ServerError) as caught:
                await client.generate("y")

    assert isinstance(image, GeneratedImage)
    assert caught.value.may_be_billed
    assert api.count("POST") == 2
