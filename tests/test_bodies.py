"""What comes in one moment waits for its turn: bodies, and orders."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import httpx
import pytest

from aimlapi_images.bodies import BodyGate, announced_length
from aimlapi_images.turnstile import Turnstile

LITTLE = 100


class Body(httpx.AsyncByteStream):
    """A body that comes as it is told to."""

    def __init__(self) -> None:
        self.coming: asyncio.Queue[bytes] = asyncio.Queue()
        self.begun = asyncio.Event()
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self.coming.get():
            self.taken += 1
            self.begun.set()
            yield piece


async def read(gate: BodyGate, body: Body) -> bytes:
    read = bytearray()
    async with aclosing(gate.pieces(httpx.Response(200, stream=body))) as pieces:
        async for piece in pieces:
            read += piece
    return bytes(read)


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_bodies_wait_for_their_turn() -> None:
    gate, bodies = BodyGate(at_once=2, seconds=60), [Body() for _ in range(5)]
    reading = [asyncio.create_task(read(gate, body)) for body in bodies]
    for body in bodies:
        body.coming.put_nowait(b"begin")
    await settled()
    assert [body.taken for body in bodies] == [1, 1, 0, 0, 0]

    bodies[1].coming.put_nowait(b"")
    await settled()
    assert [body.taken for body in bodies] == [1, 1, 1, 0, 0]

    for body in bodies:
        body.coming.put_nowait(b"")
    assert await asyncio.gather(*reading) == [b"begin"] * 5


async def test_a_body_that_stalls_gives_its_place_away_and_waits_for_another() -> None:
    gate, stalled, other, third = BodyGate(at_once=1, seconds=0.01, little=LITTLE), Body(), Body(), Body()
    reading = [asyncio.create_task(read(gate, body)) for body in (stalled, other, third)]
    other.coming.put_nowait(b"o")
    other.coming.put_nowait(b"")

    assert await asyncio.wait_for(reading[1], 10) == b"o"

    third.coming.put_nowait(b"t")
    third.coming.put_nowait(b"")
    stalled.coming.put_nowait(b"s")
    stalled.coming.put_nowait(b"")
    assert await asyncio.wait_for(asyncio.gather(*reading), 10) == [b"s", b"o", b"t"]


async def test_slow_bodies_take_turns() -> None:
    gate, slow, other = BodyGate(at_once=1, seconds=0.01, little=LITTLE), Body(), Body()
    reading = [asyncio.create_task(read(gate, body)) for body in (slow, other)]

    async def drip() -> None:
        while True:
            slow.coming.put_nowait(b"s")
            await asyncio.sleep(0.002)

    dripping = asyncio.create_task(drip())
    other.coming.put_nowait(b"o")
    await asyncio.wait_for(other.begun.wait(), 10)  # though the first one has not stalled
    dripping.cancel()
    for body in (slow, other):
        body.coming.put_nowait(b"")
    came = await asyncio.wait_for(asyncio.gather(*reading), 10)

    assert len(came[0]) == slow.taken > 0
    assert came[1] == b"o"


async def test_a_body_is_not_blamed_at_once_for_a_busy_event_loop() -> None:
    gate, slow, other = BodyGate(at_once=1, seconds=0.01, little=LITTLE), Body(), Body()
    reading = [asyncio.create_task(read(gate, body)) for body in (slow, other)]
    other.coming.put_nowait(b"o")
    await settled()

    turns = 0
    while not other.begun.is_set() and turns < 100:
        time.sleep(0.02)  # noqa: ASYNC251 - as somebody's computing would
        await asyncio.sleep(0)
        turns += 1
    assert 10 < turns < 100  # it is given some time, but does not keep the place for ever

    for body in (slow, other):
        body.coming.put_nowait(b"")
    assert await asyncio.wait_for(asyncio.gather(*reading), 10) == [b"", b"o"]


async def test_a_body_that_keeps_coming_keeps_its_place() -> None:
    gate, fast, other = BodyGate(at_once=1, seconds=0.05, little=LITTLE), Body(), Body()
    reading = [asyncio.create_task(read(gate, body)) for body in (fast, other)]
    other.coming.put_nowait(b"o")
    until = asyncio.get_running_loop().time() + 0.3
    while asyncio.get_running_loop().time() < until:
        fast.coming.put_nowait(bytes(LITTLE))
        await asyncio.sleep(0)
    assert (fast.taken > 1, other.taken) == (True, 0)

    for body in (fast, other):
        body.coming.put_nowait(b"")
    assert (await asyncio.gather(*reading))[1] == b"o"


async def test_a_reader_who_leaves_frees_the_place() -> None:
    gate = BodyGate(at_once=1, seconds=60)
    first = asyncio.create_task(read(gate, Body()))
    await settled()
    first.cancel()
    body = Body()
    body.coming.put_nowait(b"")

    assert await asyncio.wait_for(read(gate, body), 10) == b""
    assert first.cancelled()


async def test_few_go_through_a_turnstile_in_one_turn_of_the_loop() -> None:
    turnstile, gone = Turnstile(), list[int]()

    async def go(number: int) -> None:
        await turnstile.go()
        gone.append(number)

    going = [asyncio.create_task(go(number)) for number in range(50)]
    await asyncio.sleep(0)
    assert gone == list(range(8))

    for task in going[20:30]:
        task.cancel()
    at_once, before = [], 0
    while len(gone) < 40:
        await asyncio.sleep(0)
        at_once.append(len(gone) - before)
        before = len(gone)

    assert gone == [*range(20), *range(30, 50)]
    assert max(at_once) == 8
    await turnstile.go()  # nobody is left in it


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({"content-length": "1500"}, 1500),
        ({}, 0),
        ({"content-length": "-1"}, 0),
        ({"content-length": "9" * 16}, 0),
        ({"content-length": "1500", "content-encoding": "gzip"}, 0),
    ],
)
def test_a_length_is_taken_from_headers_that_tell_it(headers: dict[str, str], length: int) -> None:
    assert announced_length(httpx.Response(200, headers=headers)) == length
