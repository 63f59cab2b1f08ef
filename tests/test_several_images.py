"""Responses with several images: no paid image is lost."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from aimlapi_images import ImageClient, RetryPolicy, Usage, errors, events
from conftest import KEY, PIXEL, Script
from misbehaving import SILENCE, Behaviour, MisbehavingServer, Reply, reply
from virtual_time import run_in_virtual_time

GIF = b"GIF89a\x02\x00\x01\x00\x00\x00\x00;"
COST = {"meta": {"usage": {"credits_used": 10, "usd_spent": 0.000005}}}


def entry(data: bytes) -> dict[str, str]:
    return {"b64_json": base64.b64encode(data).decode()}


def client_for(*answers: Any, **settings: Any) -> ImageClient:
    return ImageClient(KEY, transport=Script(*answers).transport, retry=RetryPolicy(attempts=1), **settings)


async def test_the_first_image_holds_the_others() -> None:
    body = {"data": [{**entry(PIXEL), "revised_prompt": "One"}, {"url": "https://a/b"}, entry(GIF)], **COST}
    client = client_for(httpx.Response(200, json=body), httpx.Response(200, content=GIF))

    image = await client.generate("x", order="o")

    assert [each.data for each in (image, *image.others)] == [PIXEL, GIF, GIF]
    assert [each.format for each in image.others] == ["gif", "gif"]
    assert [each.revised_prompt for each in (image, *image.others)] == ["One", None, None]
    assert [each.usage for each in (image, *image.others)] == [Usage(10, 0.000005), Usage(), Usage()]
    assert {each.order for each in image.others} == {"o"}
    assert (client.spending.orders, client.spending.usd_spent) == (1, 0.000005)


async def test_each_is_written_beside_the_first_and_replaces_no_file(tmp_path: Path) -> None:
    (tmp_path / "fox-2.gif").write_text("precious")
    client = client_for(httpx.Response(200, json={"data": [entry(PIXEL), entry(GIF), entry(GIF), entry(PIXEL)]}))

    image = await client.generate("x", to=tmp_path / "fox")

    names = [each.path and each.path.name for each in (image, *image.others)]
    assert names == ["fox.png", "fox-3.gif", "fox-4.gif", "fox-5.png"]
    assert [each.path and each.path.read_bytes() for each in image.others] == [GIF, GIF, PIXEL]
    assert (tmp_path / "fox-2.gif").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 5


async def test_the_size_limit_grows_with_the_number_of_images(tmp_path: Path) -> None:
    large = [b'{"b64_json": "' + base64.b64encode(PIXEL), *[b"A" * 2**20] * 52, b'"}']
    answer = Reply([b"HTTP/1.1 200 OK\r\n\r\n", b'{"data": [', *large, b",", *large, b"]}"])
    with MisbehavingServer([answer]) as server:
        async with ImageClient(KEY, base_url=server.origin) as client:
            image = await client.generate("x", model="acme/new", options={"n": 2}, to=tmp_path / "two")
            with pytest.raises(errors.DecodeError, match="the answer is too large: more than 100,663,296 bytes"):
                await client.generate("x", model="acme/new", to=tmp_path / "one")

    assert [each.file_size for each in (image, *image.others)] == [len(PIXEL) + 39 * 2**20] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["two-2.png", "two.png"]


async def test_a_failed_download_does_not_lose_the_other_images() -> None:
    body = {"data": [{"url": "https://a/lost"}, entry(PIXEL), entry(GIF)], **COST}
    client = client_for(httpx.Response(200, json=body, headers={"x-inference-id": "i"}), httpx.Response(404))

    with pytest.raises(errors.DownloadError) as caught:
        await client.generate("x")

    assert [image.data for image in caught.value.images] == [PIXEL, GIF]
    assert caught.value.url == "https://a/lost"
    assert (caught.value.usage, caught.value.inference_id) == (Usage(10, 0.000005), "i")


@pytest.mark.parametrize("broken", [{"b64_json": "@@@"}, entry(b"<html>")])
async def test_an_invalid_image_does_not_lose_the_other_images(broken: dict[str, str]) -> None:
    client = client_for(httpx.Response(200, json={"data": [entry(PIXEL), broken]}))

    with pytest.raises(errors.DecodeError) as caught:
        await client.generate("x")

    assert [image.data for image in caught.value.images] == [PIXEL]
    assert client.spending.orders == 1


def answer(*entries: str | bytes) -> Behaviour:
    """Make the response to an order, with images given as bytes, or as paths of the same server."""
    return lambda server, _: reply(
        200, {"data": [{"url": server.origin + each} if isinstance(each, str) else entry(each) for each in entries]}
    )


def at_paths(**replies: Reply) -> Behaviour:
    return lambda _, request: replies[request.target.strip("/")]


async def test_the_error_has_every_url_that_could_not_be_fetched() -> None:
    gets = at_paths(one=reply(404), two=reply(200, GIF), three=reply(410), four=reply(403))
    with MisbehavingServer([answer("/one", PIXEL, "/two", "/three", "/four")], [gets]) as server:
        async with ImageClient(KEY, base_url=server.origin, retry=RetryPolicy(attempts=1)) as client:
            with pytest.raises(errors.DownloadError) as caught:
                await client.generate("x")

    assert [image.data for image in caught.value.images] == [PIXEL, GIF]
    assert caught.value.url == f"{server.origin}/one"
    assert caught.value.urls == tuple(f"{server.origin}/{path}" for path in ("one", "three", "four"))
    assert f"; also missing: {server.origin}/three, {server.origin}/four; complete images are in" in str(caught.value)


async def test_the_error_for_an_invalid_image_has_the_url_of_a_failed_download() -> None:
    with MisbehavingServer([answer(b"<html>", "/lost")]) as server:
        async with ImageClient(KEY, base_url=server.origin, retry=RetryPolicy(attempts=1)) as client:
            with pytest.raises(errors.DecodeError, match=r"; also missing: http.*/lost") as caught:
                await client.generate("x")

    assert caught.value.urls == (f"{server.origin}/lost",)


async def test_a_deadline_during_a_download_keeps_images_that_had_arrived(tmp_path: Path) -> None:
    gets = at_paths(one=SILENCE, two=reply(200, GIF), three=SILENCE)
    with MisbehavingServer([answer("/one", PIXEL, "/two", "/three")], [gets]) as server:
        async with ImageClient(KEY, base_url=server.origin, deadline=2) as client:
            orders = client.generate("x"), client.generate("x", to=tmp_path / "fox")
            held, written = await asyncio.gather(*orders, return_exceptions=True)

    assert isinstance(held, errors.DeadlineExceededError)
    assert isinstance(written, errors.DeadlineExceededError)
    for error in (held, written):
        assert [image.data for image in error.images] == [PIXEL, GIF]
        assert (error.phase, error.may_be_billed) == ("download", True)
        assert error.urls == (f"{server.origin}/one", f"{server.origin}/three")
        assert error.url == f"{server.origin}/one"
        assert f"; it is billed, and its image URLs are {server.origin}/one, {server.origin}/three;" in str(error)
    assert [image.path for image in held.images] == [None, None]
    assert [image.path for image in written.images] == [tmp_path / "fox-2.png", tmp_path / "fox-3.gif"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fox-2.png", "fox-3.gif"]
    assert f"in this error's `images`, written to {tmp_path / 'fox-2.png'}, {tmp_path / 'fox-3.gif'}" in str(written)
    assert server.count("POST") == 2


@pytest.mark.parametrize("entries", [[entry(PIXEL)], [entry(PIXEL), {"url": "https://a/1"}, entry(GIF)]])
def test_a_deadline_during_a_slow_observer_keeps_images_that_had_arrived(
    entries: Sequence[dict[str, str]], tmp_path: Path
) -> None:
    async def slow(event: events.Event) -> None:
        if isinstance(event, events.Generated):
            await asyncio.sleep(60)

    async def main() -> None:
        async with client_for(httpx.Response(200, json={"data": entries}), observer=slow) as client:
            await client.generate("x", to=tmp_path / "fox", deadline=30)

    with pytest.raises(errors.DeadlineExceededError, match="while waiting for the observer") as caught:
        run_in_virtual_time(main())

    assert [image.data for image in caught.value.images] == [PIXEL, GIF][: len(caught.value.images)]
    assert len(caught.value.images) == sum("b64_json" in each for each in entries)
    assert caught.value.urls == tuple(each["url"] for each in entries if "url" in each)
    assert caught.value.phase == "observer"
    assert len(list(tmp_path.iterdir())) == len(caught.value.images)


async def test_every_url_is_reported_before_the_first_download() -> None:
    told: list[events.Event] = []

    async def observer(event: events.Event) -> None:
        told.append(event)

    client = client_for(
        httpx.Response(200, json={"data": [{"url": "https://a/1"}, entry(PIXEL), {"url": "https://a/2"}]}),
        httpx.Response(200, content=PIXEL),
        observer=observer,
    )

    await client.generate("x")

    (generated,) = (each for each in told if isinstance(each, events.Generated))
    assert generated.urls == ("https://a/1", "https://a/2")
