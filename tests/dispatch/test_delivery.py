"""Finished images: whole files or none, nothing lost, and no more in memory than the client's limit."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from aimlapi_images import DeadlineExceededError, DecodeError, ImageClient, NotSavedError
from conftest import KEY, PIXEL, PIXEL_ANSWER, scripted


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


def to_the_end(client: ImageClient) -> None:
    """Wait for the client's threads."""
    client._threads._pool.shutdown()


def full(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", full)
    client, _ = scripted()

    with pytest.raises(NotSavedError, match="could not be written: No space left on device") as caught:
        await client.generate("x", to=tmp_path / "fox")

    assert (caught.value.image.data, caught.value.image.path) == (PIXEL, None)
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_appears_meanwhile_stays_and_the_image_is_not_lost(tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        (tmp_path / "fox.png").write_text("precious")
        return httpx.Response(200, json=PIXEL_ANSWER)

    client, _ = scripted(answer)

    with pytest.raises(NotSavedError, match="the file already exists") as caught:
        await client.generate("x", to=tmp_path / "fox")

    assert caught.value.image.data == PIXEL
    assert (tmp_path / "fox.png").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


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


async def test_an_image_being_written_outlives_its_order(tmp_path: Path, slow_disk: Gate) -> None:
    """It is paid for. The thread finishes what it has begun, so that the file is whole."""
    client, _ = scripted()
    order = asyncio.create_task(client.generate("x", to=tmp_path / "fox"))
    await asyncio.to_thread(slow_disk.reached.wait, 30)
    order.cancel()
    with pytest.raises(asyncio.CancelledError):
        await order
    slow_disk.opened.set()
    await asyncio.to_thread(to_the_end, client)

    assert [path.name for path in tmp_path.iterdir()] == ["fox.png"]
    assert (tmp_path / "fox.png").read_bytes() == PIXEL


async def turns_of_the_loop(until: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not until():  # noqa: ASYNC110 - threads are waited for as well
            await asyncio.sleep(0.01)


async def test_no_more_is_ordered_while_images_wait_for_the_disk(tmp_path: Path, slow_disk: Gate) -> None:
    sent = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal sent
        sent += 1
        return httpx.Response(200, json=PIXEL_ANSWER)

    async with ImageClient(KEY, transport=httpx.MockTransport(answer), max_concurrency=2) as client:
        orders = [asyncio.create_task(client.generate("x", to=tmp_path / f"{number}")) for number in range(9)]
        await turns_of_the_loop(lambda: len(list(tmp_path.iterdir())) == 2)
        for _ in range(100):
            await asyncio.sleep(0)
        assert sent <= 4  # the disk works on two images, and at most two more were under way before
        slow_disk.opened.set()
        images = await asyncio.gather(*orders)

    assert [image.data for image in images] == [PIXEL] * 9
    assert (sent, client.spending.orders) == (9, 9)


async def test_an_order_that_waits_for_the_disk_is_not_sent_after_its_deadline(tmp_path: Path, slow_disk: Gate) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=PIXEL_ANSWER))
    async with ImageClient(KEY, transport=transport, max_concurrency=1) as client:
        first = asyncio.create_task(client.generate("x", to=tmp_path / "1"))
        await asyncio.to_thread(slow_disk.reached.wait, 30)
        with pytest.raises(DeadlineExceededError, match="it is not billed") as caught:
            await client.generate("x", deadline=0.1)
        slow_disk.opened.set()
        await first

    assert caught.value.phase == "queue"
    assert client.spending.orders == 1
