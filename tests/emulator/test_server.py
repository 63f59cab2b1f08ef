"""The emulator as a server: addresses, many requests at once, and what it leaves behind."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import threading

import aiohttp
import httpx
import pytest
from PIL import Image
from starlette.applications import Starlette

from aimlapi_images import ImageClient, emulator
from aimlapi_images.emulator import Settings, State
from aimlapi_images.emulator.drawing.picture import Picture

BODY = {"model": "openai/gpt-image-1-5", "prompt": "A fox"}
AUTH = {"Authorization": "Bearer any-key"}
PATH = "/v1/images/generations"


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_it_listens_on_ipv6_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,::1")
    async with (
        emulator.serve(host="::1", drawing="plain") as running,
        ImageClient("any-key", base_url=running.base_url) as client,
    ):
        image = await client.generate("A fox")

    assert running.base_url.startswith("http://[::1]:")
    assert image.format == "png"


def test_an_unknown_host_raises_in_the_caller() -> None:
    with pytest.raises(OSError, match=r"not known|No address|failed"):
        emulator.serve(host="no.such.host.invalid").__enter__()


async def test_a_thousand_requests_are_in_flight_at_once() -> None:
    gate, everyone = asyncio.Event(), 1_000
    loop = asyncio.get_running_loop()
    state: State

    async def sleep(seconds: float) -> None:
        assert seconds == 1.0
        if state.stats.in_flight == everyone:
            loop.call_soon_threadsafe(gate.set)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(gate.wait(), loop))

    state = State(Settings(latency=26, time_scale=26, drawing="plain"), sleep=sleep)
    async with (
        emulator.serve(emulator.create_app(state=state)) as running,
        # Not httpx, whose pool takes ten times as long with that many connections.
        aiohttp.ClientSession(running.base_url, headers=AUTH, connector=aiohttp.TCPConnector(limit=0)) as http,
    ):

        async def order(number: int) -> tuple[int, str, str]:
            headers = {"X-Client-Request-Id": f"order-{number}"}
            async with http.post(PATH, json=BODY, headers=headers) as answer:
                body = await answer.json()
                return answer.status, answer.headers["x-client-request-id"], body["data"][0]["url"]

        answers = await asyncio.gather(*map(order, range(everyone)))

    assert [answer[:2] for answer in answers] == [(200, f"order-{number}") for number in range(everyone)]
    assert len({url for *_, url in answers}) == everyone
    stats = state.stats
    assert (stats.peak, stats.billed, stats.delivered, stats.in_flight) == (everyone, everyone, everyone, 0)
    assert len({row.fields["client_request_id"] for row in state.log.rows(state.now())}) == everyone


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0  # noqa: PTH208


def order(base_url: str) -> int:
    return httpx.post(base_url + PATH, json=BODY, headers=AUTH, timeout=60).status_code


def test_two_emulators_and_a_restart_leave_nothing_behind() -> None:
    threads, files = threading.active_count(), open_files()

    with emulator.serve(drawing="plain") as one, emulator.serve(drawing="plain", image_port=0) as two:
        assert [order(running.base_url) for running in (one, two, one)] == [200, 200, 200]
        assert (one.billed, two.billed) == (2, 1)
    with emulator.serve(port=int(one.base_url.rpartition(":")[2]), drawing="plain") as again:
        assert order(again.base_url) == 200

    assert (again.base_url, again.billed) == (one.base_url, 1)
    with pytest.raises(httpx.ConnectError):
        order(one.base_url)
    assert (threading.active_count(), open_files()) == (threads, files)


async def test_a_transport_leaves_no_task_when_it_closes() -> None:
    tasks = asyncio.all_tasks()
    async with httpx.AsyncClient(transport=emulator.transport(latency=60), headers=AUTH) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post(f"http://emulator{PATH}", json=BODY, timeout=0.1)
        assert len(asyncio.all_tasks()) == len(tasks) + 1  # the order goes on without its client

    assert asyncio.all_tasks() == tasks


TIMED_OUT = """
import asyncio, logging
from aimlapi_images import ImageClient, emulator

logging.getLogger("aimlapi_images").setLevel(logging.ERROR)  # the client warns of an unknown outcome

async def main():
    async with emulator.serve(latency=60) as running:
        for transport in (None, running.transport()):
            async with ImageClient("any-key", base_url=running.base_url, timeout=0.3, transport=transport) as client:
                (error,) = await asyncio.gather(client.generate("A fox"), return_exceptions=True)
                print(type(error).__name__, running.stats.accepted)

asyncio.run(main())
"""


def test_a_time_out_of_the_client_prints_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TIMED_OUT],
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "OutcomeUnknownError 1\nOutcomeUnknownError 2\n"


def test_another_application_can_be_served_but_has_no_counters() -> None:
    with emulator.serve(Starlette()) as running:
        assert httpx.get(running.base_url).status_code == 404
        with pytest.raises(TypeError, match=r"not made by create_app"):
            running.fail("rate_limited")


async def test_a_picture_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Picture] = []

    def draw(picture: Picture) -> Image.Image:
        drawn.append(picture)
        return Image.new("RGB", (picture.width, picture.height))

    monkeypatch.setattr("aimlapi_images.emulator.drawing.paint.draw", draw)
    body = {**BODY, "prompt": "Drawn once", "response_format": "b64_json"}
    async with emulator.serve() as running, httpx.AsyncClient(base_url=running.base_url, headers=AUTH) as http:
        answers = await asyncio.gather(*(http.post(PATH, json=body, timeout=60) for _ in range(20)))

    assert len({answer.json()["data"][0]["b64_json"] for answer in answers}) == 1
    assert len(drawn) == 1
