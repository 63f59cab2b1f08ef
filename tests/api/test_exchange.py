"""Trouble on the way to the API and to images: what is raised, and how often the server was asked."""

from __future__ import annotations

import asyncio
import copy
import logging
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from aimlapi_images import GeneratedImage, RetryPolicy, emulator, errors
from aimlapi_images.api.download import MAX_IMAGE_BYTES
from aimlapi_images.api.exchange import MAX_BASE64_BYTES, BodySlots, receive
from aimlapi_images.client import ImageClient
from aimlapi_images.config import DEFAULT_TIMEOUT
from aimlapi_images.media.embedded_images import MAX_LEFT_BYTES
from aimlapi_images.threads import Threads
from conftest import KEY, PIXEL, PIXEL_ANSWER, scripted
from misbehaving import MisbehavingServer, Reply, link, reply
from virtual_time import run_in_virtual_time

URL = "https://cdn.example/a.png"
URL_ANSWER = httpx.Response(200, json={"data": [{"url": URL}]})

FAILURES: list[tuple[httpx.RequestError, type[errors.ImageError], str]] = [
    (httpx.ConnectError("refused"), errors.ConnectionFailedError, "not sent, no connection to api.aimlapi.com"),
    (httpx.ConnectTimeout(""), errors.ConnectionFailedError, "ConnectTimeout"),
    (httpx.PoolTimeout(""), errors.ConnectionFailedError, "PoolTimeout"),
    (httpx.ProxyError("no"), errors.ConnectionFailedError, "ProxyError: no"),
    (httpx.LocalProtocolError("bad header"), errors.InvalidRequestError, "cannot be sent: LocalProtocolError"),
    (httpx.UnsupportedProtocol("x"), errors.InvalidRequestError, "cannot be sent"),
    (httpx.ReadTimeout(""), errors.OutcomeUnknownError, "sent, but no complete answer came: ReadTimeout.*billed"),
    (httpx.WriteTimeout(""), errors.OutcomeUnknownError, "WriteTimeout"),
    (httpx.ReadError(""), errors.OutcomeUnknownError, "ReadError"),
    (httpx.WriteError(""), errors.OutcomeUnknownError, "WriteError"),
    (httpx.RemoteProtocolError("Server disconnected"), errors.OutcomeUnknownError, "Server disconnected"),
    (httpx.DecodingError("gzip"), errors.OutcomeUnknownError, "gzip"),
]


@pytest.mark.parametrize(("failure", "kind", "message"), FAILURES)
async def test_each_failure_says_whether_it_was_sent(
    failure: httpx.RequestError, kind: type[errors.ImageError], message: str
) -> None:
    client, script = scripted(failure)

    with pytest.raises(errors.ImageError, match=message) as caught:
        await client.generate("x", order="order-1")

    assert type(caught.value) is kind
    assert caught.value.order == "order-1"
    assert "(order order-1)" in str(caught.value)
    assert caught.value.__cause__ is failure
    assert len(script.requests) == 1


async def test_timeouts_fit_a_generation() -> None:
    client, script = scripted()
    await client.generate("x")

    assert script.requests[0].extensions["timeout"] == {"connect": 10.0, "read": 300.0, "write": 60.0, "pool": None}
    assert DEFAULT_TIMEOUT.read == 300.0


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (120, {"connect": 10.0, "read": 120, "write": 120, "pool": None}),
        (2, {"connect": 2, "read": 2, "write": 2, "pool": None}),
        (httpx.Timeout(5.0), {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}),
    ],
)
async def test_a_timeout_of_ones_own(seconds: float, expected: dict[str, float | None]) -> None:
    _, script = scripted()
    client = ImageClient(KEY, transport=script.transport, timeout=seconds)

    await client.generate("x")

    assert script.requests[0].extensions["timeout"] == expected


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        (b"x" * (MAX_LEFT_BYTES + 1), "8,388,608 bytes beside images"),
        (b" " * (MAX_LEFT_BYTES + MAX_BASE64_BYTES + 1), "100,663,296 bytes"),
    ],
)
async def test_an_answer_without_end_is_cut_off(body: bytes, limit: str) -> None:
    client, _ = scripted(httpx.Response(200, content=body))

    with pytest.raises(errors.DecodeError, match=f"the answer is too large: more than {limit}"):
        await client.generate("x")


@pytest.mark.parametrize("stated", [None, "", "x", "0", "-5", "7", "20", "300000", "1e30", "9" * 5000, "nan"])
async def test_a_body_is_received_whatever_size_is_stated(stated: str | None) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(10):
            yield bytes([number, number])

    headers = {} if stated is None else {"Content-Length": stated}

    body, problem = await receive(httpx.Response(200, headers=headers, content=pieces()), 20, reserve=True)
    assert bytes(body) == bytes(sorted([*range(10), *range(10)]))
    assert problem is None


@pytest.mark.parametrize("kind", [httpx.ReadError, OSError])  # a transport of the caller's may raise anything
async def test_what_arrived_of_a_body_that_breaks_off_is_not_lost(kind: type[Exception]) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"the beginning"
        raise kind("")

    response = httpx.Response(200, headers={"Content-Length": "100"}, content=pieces())

    body, problem = await receive(response, 100, reserve=False)
    assert body == b"the beginning"
    assert isinstance(problem, kind)


def test_memory_is_reserved_only_for_bodies_with_a_slot() -> None:
    async def stalling() -> AsyncIterator[bytes]:
        yield b"{"
        arrived.append(True)
        await asyncio.sleep(1_000)

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Length": str(8 * 2**20)}, content=stalling())

    async def main() -> int:
        async with ImageClient(KEY, transport=httpx.MockTransport(answer), max_concurrency=30) as client:
            tasks = [asyncio.create_task(client.generate("x")) for _ in range(30)]
            await asyncio.sleep(60)
            used = tracemalloc.get_traced_memory()[0]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            return used

    arrived: list[bool] = []
    tracemalloc.start()
    try:
        used = run_in_virtual_time(main())
    finally:
        tracemalloc.stop()

    assert len(arrived) == 30
    assert 12 * 8 * 2**20 <= used < 14 * 8 * 2**20


async def test_of_an_error_without_end_the_beginning_is_enough() -> None:
    async def forever() -> AsyncIterator[bytes]:
        while True:
            yield b"<html>" * 1000

    client, _ = scripted(httpx.Response(502, content=forever()))

    with pytest.raises(errors.ServerError, match="HTTP 502") as caught:
        await client.generate("x")

    assert str(caught.value.body).startswith("<html>")


DOWNLOADS: list[tuple[str, list[httpx.Response | Exception], str]] = [
    ("gone", [httpx.Response(404)], "HTTP 404 from cdn.example"),
    ("expired", [httpx.Response(403)], "HTTP 403 from cdn.example"),
    ("cut off", [httpx.RemoteProtocolError("peer closed")], "RemoteProtocolError: peer closed"),
    ("no answer", [httpx.ReadTimeout("")], "ReadTimeout"),
    (
        "to http",
        [httpx.Response(302, headers={"Location": "http://cdn.example/a.png"})],
        "http://cdn.example is not https",
    ),
    ("to a file", [httpx.Response(302, headers={"Location": "file:///etc/passwd"})], "file://cdn.example is not https"),
    ("in circles", [httpx.Response(302, headers={"Location": URL})], "more than 10 redirects"),
    ("partial", [httpx.Response(206, content=PIXEL)], "HTTP 206"),
]


@pytest.mark.parametrize(("answers", "message"), [row[1:] for row in DOWNLOADS], ids=[row[0] for row in DOWNLOADS])
async def test_a_failed_download_keeps_the_url_and_never_generates_again(
    answers: list[httpx.Response | Exception], message: str
) -> None:
    client, script = scripted(URL_ANSWER, *answers)

    with pytest.raises(errors.DownloadError, match=message) as caught:
        await client.generate("x", order="order-2")

    assert caught.value.url == URL
    assert URL in str(caught.value)
    assert caught.value.order == "order-2"
    assert [request.method for request in script.requests].count("POST") == 1
    assert str(copy.copy(caught.value.__cause__)) == str(caught.value.__cause__)  # as Dask pickles causes


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://cdn.example/a.png", "ftp://cdn.example is not https"),
        ("http://169.254.169.254/latest", "is not https"),
        ("http://127.0.0.1:8000/a.png", "is not https"),
        ("/relative.png", "a URL without a scheme is not https"),
        ("https://cdn.example:port/a.png", "InvalidURL"),
    ],
)
async def test_a_url_that_is_not_to_be_trusted_is_not_fetched(url: str, message: str) -> None:
    client, script = scripted(httpx.Response(200, json={"data": [{"url": url}]}))

    with pytest.raises(errors.DownloadError, match=message):
        await client.generate("x")

    assert len(script.requests) == 1


async def test_a_redirect_between_image_hosts_is_followed_without_the_key() -> None:
    moved = httpx.Response(302, headers={"Location": "https://other.example/b.png"})
    client, script = scripted(URL_ANSWER, moved, httpx.Response(200, content=PIXEL))

    image = await client.generate("x")

    assert image.data == PIXEL
    assert image.url == URL
    assert [request.url.host for request in script.requests] == ["api.aimlapi.com", "cdn.example", "other.example"]
    assert [request.headers.get("authorization") for request in script.requests[1:]] == [None, None]


LARGE = PIXEL[:-12] + (10**6).to_bytes(4, "big") + b"noIs" + bytes(10**6 + 4) + PIXEL[-12:]

# A longer image than one pixel, to break in the middle.
IMAGE = PIXEL + bytes(1000)


@contextmanager
def image_host(*behaviour: str) -> Iterator[tuple[str, list[str]]]:
    """A real server that breaks off its answers on cue, and keeps the ranges that it was asked for."""
    ranges: list[str] = []
    todo = list(behaviour)

    async def image(request: Request) -> Response:
        ranges.append(request.headers.get("range", ""))
        how = todo.pop(0)
        if how.isdigit():
            return Response(status_code=int(how))
        sent = IMAGE[: len(IMAGE) // 2] if how == "breaks" else IMAGE

        async def body() -> AsyncIterator[bytes]:
            yield sent
            if sent is not IMAGE:
                raise OSError("broken on purpose")

        return StreamingResponse(body(), headers={"Content-Length": str(len(IMAGE)), "ETag": '"one"'})

    async def generate(request: Request) -> Response:
        return JSONResponse({"data": [{"url": f"{request.base_url}a.png"}]})

    routes = [Route("/v1/images/generations", generate, methods=["POST"]), Route("/a.png", image)]
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    with emulator.serve(Starlette(routes=routes)) as running:
        yield running.base_url, ranges


@pytest.mark.parametrize(
    "behaviour",
    [
        ["whole"],
        ["breaks", "whole"],
        ["breaks", "breaks", "whole"],
        ["breaks", "503", "whole"],
        ["429", "500", "502", "whole"],
    ],
)
async def test_a_broken_download_starts_over(behaviour: list[str]) -> None:
    with image_host(*behaviour) as (url, asked):
        async with ImageClient(KEY, base_url=url, retry=RetryPolicy(first_wait=0.0)) as client:
            image = await client.generate("x")

    assert image.data == IMAGE
    assert asked == [""] * len(behaviour)


@pytest.mark.parametrize(
    ("behaviour", "asked_for"),
    [(["410"], 1), (["404"] * 4, 4), (["403"] * 4, 4), (["500"] * 4, 4), (["breaks"] * 4, 4)],
)
async def test_a_download_is_given_up_in_the_end(behaviour: list[str], asked_for: int) -> None:
    with image_host(*behaviour) as (url, asked):
        async with ImageClient(KEY, base_url=url, retry=RetryPolicy(first_wait=0.0)) as client:
            with pytest.raises(errors.DownloadError) as caught:
                await client.generate("x")

    assert caught.value.url == f"{url}/a.png"
    assert len(asked) == asked_for


async def test_an_image_without_end_is_cut_off() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(2 * MAX_IMAGE_BYTES // 2**20):
            yield bytes(2**20)

    client, _ = scripted(URL_ANSWER, httpx.Response(200, content=endless()))

    with pytest.raises(errors.DownloadError, match="more than 67,108,864 bytes"):
        await client.generate("x")


@pytest.mark.parametrize("content", [b"<html>an error page</html>", b"BM1234", b"\0"])
async def test_bytes_that_are_no_image_are_an_error_that_keeps_them(content: bytes) -> None:
    client, _ = scripted(URL_ANSWER, httpx.Response(200, content=content))

    with pytest.raises(
        errors.DecodeError, match=r"the payload from https://cdn\.example/a\.png is not a valid image"
    ) as caught:
        await client.generate("x")

    assert caught.value.data == content


@pytest.mark.parametrize("to_file", [False, True])
async def test_the_longest_part_of_a_download_that_stays_cut_is_in_the_error(to_file: bool, tmp_path: Path) -> None:
    parts = [LARGE[:900_000], LARGE[:-1], LARGE[:1_000], b""]
    cut = [Reply([b"HTTP/1.1 200 OK\r\n\r\n", part]) for part in parts]
    with MisbehavingServer([link("/fox")], cut) as server:
        async with ImageClient(KEY, base_url=server.origin, retry=RetryPolicy(first_wait=0.0)) as client:
            with pytest.raises(errors.DownloadError, match=r"0 bytes, cut off.*Fetch it soon from http") as caught:
                await client.generate("x", to=tmp_path / "fox" if to_file else None)

    assert (caught.value.data, caught.value.url) == (LARGE[:-1], f"{server.origin}/fox")
    assert copy.copy(caught.value).data == LARGE[:-1]
    assert list(tmp_path.iterdir()) == []


async def test_a_part_of_too_large_an_image_is_not_kept() -> None:
    client, _ = scripted(URL_ANSWER, httpx.Response(200, content=bytes(MAX_IMAGE_BYTES + 1)))

    with pytest.raises(errors.DownloadError, match="more than") as caught:
        await client.generate("x")

    assert caught.value.data == b""


async def test_a_message_shows_the_beginning_of_a_long_url_and_the_error_has_it_all() -> None:
    url = URL + "?" + "x" * 100_000
    client, _ = scripted(httpx.Response(200, json={"data": [{"url": url}]}), httpx.Response(410))

    with pytest.raises(errors.DownloadError, match=r"xxx\.\.\.; generating") as caught:
        await client.generate("x")

    assert len(str(caught.value)) < 2_500
    assert caught.value.urls == (url,)


@pytest.mark.parametrize("name", ["x-inference-id", "location"])
async def test_headers_and_faults_of_the_protocol_are_shortened(name: str) -> None:
    client, _ = scripted(httpx.Response(302, headers={name: "x" * 50_000}))
    broken, _ = scripted(httpx.RemoteProtocolError("x " * 50_000))

    for each in (client, broken):
        with pytest.raises(errors.ImageError) as caught:
            await each.generate("x")
        assert len(str(caught.value)) < 500
        assert len(caught.value.inference_id or "") <= 1_000


async def test_downloads_may_have_a_transport_of_their_own() -> None:
    _, api = scripted(URL_ANSWER)
    _, images = scripted(httpx.Response(200, content=PIXEL))
    client = ImageClient(KEY, transport=api.transport, download_transport=images.transport)

    image = await client.generate("x")

    assert image.data == PIXEL
    assert (len(api.requests), len(images.requests)) == (1, 1)


async def test_proxies_of_the_environment_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with MisbehavingServer([reply(200, PIXEL_ANSWER)]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.origin)
        monkeypatch.setenv("http_proxy", proxy.origin)
        async with ImageClient(KEY, base_url="http://api.local") as client:
            image = await client.generate("x")

    assert image.data == PIXEL
    assert proxy.requests[0].target == "http://api.local/v1/images/generations"


@pytest.mark.parametrize(
    "url", ["https://cdn.example/\ud800.png", "https://xn--a.example/", "https://127.0.0.1:99999/a.png"]
)
async def test_an_odd_url_is_a_failed_download_that_keeps_it(url: str) -> None:
    with MisbehavingServer([reply(200, {"data": [{"url": url}]})]) as server:
        async with ImageClient(KEY, base_url=server.origin, retry=RetryPolicy(first_wait=0.0)) as client:
            with pytest.raises(errors.DownloadError) as caught:
                await client.generate("x")

    assert caught.value.url == url


async def test_closing_the_client_leaves_each_order_an_error_of_the_tree() -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(200, json={"data": [{"url": URL}]})
        arrived.set()
        await go_on.wait()
        return httpx.Response(200, content=PIXEL)

    client = ImageClient(KEY, transport=httpx.MockTransport(handler), max_concurrency=1)
    orders = [asyncio.create_task(client.generate(prompt)) for prompt in "ab"]
    await arrived.wait()
    while client.spending.orders < 2:  # noqa: ASYNC110 - nothing else tells
        await asyncio.sleep(0)
    await client.aclose()
    go_on.set()
    first, second = await asyncio.gather(*orders, return_exceptions=True)

    assert isinstance(first, GeneratedImage)
    assert isinstance(second, errors.DownloadError)
    assert second.url == URL


def test_stalled_bodies_do_not_stop_the_others(threads: Threads) -> None:
    async def main() -> tuple[int, float]:
        bodies, reading, most = BodySlots(threads, slots=2, patience=5.0), 0, 0

        async def read(seconds: float) -> None:
            nonlocal reading, most
            async with bodies.slot(to_disk=False):
                reading += 1
                most = max(most, reading)
                try:
                    await asyncio.sleep(seconds)
                finally:
                    reading -= 1

        await asyncio.gather(*(read(1.0) for _ in range(6)))
        assert most == 2
        stalled = [asyncio.create_task(read(1000.0)) for _ in range(2)]
        await asyncio.sleep(0)
        before = asyncio.get_running_loop().time()
        await read(1.0)
        after = asyncio.get_running_loop().time()
        for task in stalled:
            task.cancel()
        await asyncio.gather(*stalled, return_exceptions=True)
        await asyncio.gather(*(read(1.0) for _ in range(2)))
        return most, after - before

    most, seconds = run_in_virtual_time(main())

    assert most == 3
    assert seconds == pytest.approx(6.0)
