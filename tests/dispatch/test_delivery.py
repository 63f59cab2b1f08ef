"""Finished images: whole files or none, nothing lost, and no more in memory than the client's limit."""

from __future__ import annotations

import asyncio
import base64
import errno
import gc
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from aimlapi_images import (
    DecodeError,
    DownloadError,
    Event,
    ImageClient,
    ImageError,
    InvalidRequestError,
    NotSavedError,
    events,
)
from aimlapi_images.media.formats import Payload
from aimlapi_images.threads import _WORKERS as WRITERS
from conftest import KEY, PIXEL, PIXEL_ANSWER, Script, scripted


class Gate:
    """Holds each call of an `os` function, in its thread, until `opened` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        real = getattr(os, name)

        def held(*arguments: object) -> object:
            self.reached.set()
            assert self.opened.wait(30)
            return real(*arguments)

        monkeypatch.setattr(os, name, held)


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A disk that does not answer before the gate is opened."""
    return Gate(monkeypatch, "fsync")


def full(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", full)
    client, _ = scripted()

    with pytest.raises(NotSavedError, match="could not be written: No space left on device") as caught:
        await client.generate("x", to=tmp_path / "fox")

    assert (caught.value.image.data, caught.value.image.path) == (PIXEL, None)
    assert list(tmp_path.iterdir()) == []


async def test_bytes_that_are_not_an_image_matter_more_than_a_failing_disk(tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        (tmp_path / "out").rmdir()
        return httpx.Response(200, json={"data": [{"b64_json": "PGh0bWw+"}]})

    (tmp_path / "out").mkdir()
    client, _ = scripted(answer)

    with pytest.raises(DecodeError, match="6 bytes that are not") as caught:
        await client.generate("x", to=tmp_path / "out" / "fox")

    assert caught.value.data == b"<html>"


async def test_a_slow_disk_does_not_block_the_event_loop(tmp_path: Path, slow_disk: Gate) -> None:
    client, _ = scripted()
    order = asyncio.create_task(client.generate("x", to=tmp_path / "fox"))
    await asyncio.to_thread(slow_disk.reached.wait, 30)
    for _ in range(100):
        await asyncio.sleep(0)
    assert not order.done()
    assert not (tmp_path / "fox.png").exists()
    slow_disk.opened.set()

    assert (await order).data == PIXEL


async def test_a_cancelled_order_waits_for_its_image_to_be_written(tmp_path: Path, slow_disk: Gate) -> None:
    """It is paid for. Nobody finds a file afterwards that was not there before."""
    client, _ = scripted()
    order = asyncio.create_task(client.generate("x", to=tmp_path / "fox"))
    await asyncio.to_thread(slow_disk.reached.wait, 30)
    order.cancel()
    for _ in range(100):
        await asyncio.sleep(0)
    assert not order.done()
    with pytest.raises(InvalidRequestError, match="another order of this client writes to"):
        await client.generate("x", to=tmp_path / "fox")
    slow_disk.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await order

    assert [path.name for path in tmp_path.iterdir()] == ["fox.png"]
    assert (tmp_path / "fox.png").read_bytes() == PIXEL


async def all_write(folder: Path) -> None:
    """Wait until each thread writes a file in the folder, and nothing else can go on."""
    async with asyncio.timeout(30):
        while len(list(folder.iterdir())) < WRITERS:  # noqa: ASYNC110 - a folder has no event
            await asyncio.sleep(0.01)
    for _ in range(100):
        await asyncio.sleep(0)


class Server:
    """Takes some turns of the event loop for each answer, and counts the requests."""

    def __init__(self, answer: Callable[[], httpx.Response]) -> None:
        self.requests = 0
        self.transport = httpx.MockTransport(self._answer)
        self._make = answer

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        for _ in range(5):
            await asyncio.sleep(0)
        return self._make()


async def test_no_more_is_ordered_while_images_wait_for_the_disk(tmp_path: Path, slow_disk: Gate) -> None:
    server = Server(lambda: httpx.Response(200, json=PIXEL_ANSWER))
    async with ImageClient(KEY, transport=server.transport, max_concurrency=6) as client:
        orders = [asyncio.create_task(client.generate("x", to=tmp_path / f"{number}")) for number in range(40)]
        await all_write(tmp_path)
        # Those that were received before the disk was seen to be slow, and those that are not.
        assert server.requests <= 6 + 6
        assert client.throttle.open == 6
        slow_disk.opened.set()
        images = await asyncio.gather(*orders)

    assert [image.data for image in images] == [PIXEL] * 40
    assert (server.requests, client.spending.orders) == (40, 40)


async def test_no_more_is_fetched_while_images_wait_for_the_disk(tmp_path: Path, slow_disk: Gate) -> None:
    server = Server(lambda: httpx.Response(200, content=PIXEL))
    async with ImageClient(KEY, base_url="http://a", transport=server.transport, max_concurrency=2) as client:
        orders = [asyncio.create_task(client.fetch("http://a/x.png", to=tmp_path / f"{n}")) for n in range(40)]
        await all_write(tmp_path)
        assert server.requests <= WRITERS + 4
        slow_disk.opened.set()
        images = await asyncio.gather(*orders)

    assert [image.data for image in images] == [PIXEL] * 40


@pytest.mark.parametrize("to_disk", [False, True])
async def test_what_has_nothing_to_write_does_not_wait_for_the_disk(
    tmp_path: Path, slow_disk: Gate, to_disk: bool
) -> None:
    """An image that is kept in memory, and one that could not be fetched."""
    answers = {"/there.png": httpx.Response(200, content=PIXEL), "/gone.png": httpx.Response(410)}
    transport = httpx.MockTransport(lambda request: answers[request.url.path])
    async with ImageClient(KEY, base_url="http://a", transport=transport) as client:
        writing = [
            asyncio.create_task(client.fetch("http://a/there.png", to=tmp_path / f"{n}")) for n in range(WRITERS)
        ]
        await all_write(tmp_path)
        assert (await client.fetch("http://a/there.png")).data == PIXEL
        with pytest.raises(DownloadError, match="HTTP 410"):
            await client.fetch("http://a/gone.png", to=tmp_path / "gone" if to_disk else None)
        slow_disk.opened.set()
        await asyncio.gather(*writing)


def payloads() -> list[Payload]:
    """The decoded images that something refers to."""
    gc.collect()
    return [each for each in gc.get_objects() if type(each) is Payload]  # `isinstance` runs code of each object


async def test_a_written_image_is_not_held_while_observers_are_told(tmp_path: Path) -> None:
    async def look(event: Event) -> None:
        if isinstance(event, events.Delivered):
            held.append(len(payloads()) - len(before))

    before, held = payloads(), list[int]()
    client = ImageClient(KEY, transport=Script(httpx.Response(200, json=PIXEL_ANSWER)).transport, observer=look)

    await client.generate("x", to=tmp_path / "fox")

    assert held == [0]


@pytest.mark.parametrize(
    "body", [b'{"data": [{"b64_json": "%s' % base64.b64encode(PIXEL[:-12]), b'["iVBORw0KGgo' * 101]
)
async def test_an_error_does_not_hold_what_was_decoded(body: bytes) -> None:
    client, _ = scripted(httpx.Response(200, content=cut_off(body)))
    before = payloads()

    with pytest.raises(ImageError) as caught:
        await client.generate("x")

    assert caught.value.__cause__ is not None
    assert len(payloads()) == len(before)


async def cut_off(body: bytes) -> AsyncIterator[bytes]:
    yield body
    raise httpx.ReadError("cut off")
