"""Event loops and HTTP mocks of applications, with a client of default settings."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
from pathlib import Path

import httpx
import pytest
import respx
from pytest_httpx import HTTPXMock

from aimlapi_images import ImageClient, RetryPolicy, aiohttp_transport, errors
from conftest import KEY, PIXEL, PIXEL_ANSWER
from misbehaving import RESET, MisbehavingServer, link, nobody, reply

URL = "https://api.aimlapi.com/v1/images/generations"


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not support Windows")
@pytest.mark.parametrize("transport", [lambda: None, aiohttp_transport], ids=["httpx", "aiohttp"])
def test_orders_run_on_uvloop(transport: type[httpx.AsyncBaseTransport], tmp_path: Path) -> None:
    import uvloop

    async def main() -> list[object]:
        retry = RetryPolicy(attempts=2, first_wait=0.0)
        posts = [
            reply(200, PIXEL_ANSWER),
            link("/fox.png"),
            reply(500, {"message": "Later."}),
            reply(200, PIXEL_ANSWER),
            RESET,
        ]
        with MisbehavingServer(posts, [reply(200, PIXEL)]) as server, nobody() as nowhere:
            async with ImageClient(KEY, base_url=server.origin, retry=retry, transport=transport()) as client:
                held = await client.generate("a fox")
                written = await client.generate("a fox", to=tmp_path / "fox")
                retried = await client.generate("a fox")
                unknown = (await asyncio.gather(client.generate("a fox"), return_exceptions=True))[0]
            async with ImageClient(KEY, base_url=nowhere, retry=retry, transport=transport()) as client:
                not_sent = (await asyncio.gather(client.generate("a fox"), return_exceptions=True))[0]
            return [held.data, written.data, retried.attempts, type(unknown), type(not_sent)]

    assert uvloop.run(main()) == [PIXEL, PIXEL, 2, errors.OutcomeUnknownError, errors.ConnectionFailedError]


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not support Windows")
def test_private_addresses_are_refused_on_uvloop() -> None:
    import uvloop

    async def main() -> None:
        with MisbehavingServer(gets=[reply(200, PIXEL)]) as private:
            url = f"https://localhost:{private.port}/fox.png"
            with MisbehavingServer([reply(200, {"data": [{"url": url}]})]) as server:
                async with ImageClient(KEY, base_url=server.origin, retry=RetryPolicy(attempts=1)) as client:
                    with pytest.raises(errors.DownloadError, match="not public"):
                        await client.generate("a fox")
            assert private.requests == []

    uvloop.run(main())


async def test_respx_mocks_a_client_of_default_settings() -> None:
    with respx.mock:
        route = respx.post(URL).mock(return_value=httpx.Response(200, json=PIXEL_ANSWER))
        async with ImageClient(KEY) as client:
            image = await client.generate("a fox")

    assert image.data == PIXEL
    assert route.call_count == 1


async def test_pytest_httpx_mocks_a_client_of_default_settings(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(method="POST", url=URL, json={"data": [{"url": "https://cdn.example/fox.png"}]})
    httpx_mock.add_response(url="https://cdn.example/fox.png", content=PIXEL)
    async with ImageClient(KEY) as client:
        image = await client.generate("a fox")

    assert image.data == PIXEL
    assert [request.headers.get("Authorization") for request in httpx_mock.get_requests()] == [f"Bearer {KEY}", None]


@pytest.mark.parametrize("to_file", [False, True])
async def test_a_busy_default_executor_does_not_hold_up_orders(to_file: bool, tmp_path: Path) -> None:
    """Bridges from synchronous code block threads of the default executor while they wait for an image."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
    with MisbehavingServer([reply(200, PIXEL_ANSWER)]) as server:
        async with ImageClient(KEY, base_url=server.origin) as client:
            order = client.generate("a fox", to=tmp_path / "fox" if to_file else None, deadline=60)
            image = await asyncio.to_thread(asyncio.run_coroutine_threadsafe(order, loop).result, 60)

    assert image.data == PIXEL
