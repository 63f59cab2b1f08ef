"""Fetching a paid image by its URL, without a new order."""

from __future__ import annotations

from pathlib import Path

import pytest

from aimlapi_images import DeadlineExceededError, DownloadError, ImageClient, RetryPolicy, Usage, errors
from conftest import KEY, PIXEL
from misbehaving import SILENCE, MisbehavingServer, reply


def client_of(server: MisbehavingServer) -> ImageClient:
    return ImageClient(KEY, base_url=server.origin, retry=RetryPolicy(attempts=2, first_wait=0))


async def test_the_url_of_a_failed_download_can_be_fetched_later(tmp_path: Path) -> None:
    order = lambda server, _: reply(200, {"data": [{"url": f"{server.origin}/fox"}]})  # noqa: E731
    with MisbehavingServer([order], [reply(404), reply(404), reply(503), reply(200, PIXEL)]) as server:
        async with client_of(server) as client:
            with pytest.raises(DownloadError) as caught:
                await client.generate("x")
            image = await client.fetch(caught.value.url, to=tmp_path / "fox")
            spending = client.spending

    assert image.path == tmp_path / "fox.png"
    assert image.path.read_bytes() == PIXEL
    assert (image.url, image.usage, image.prompt, image.parameters) == (f"{server.origin}/fox", Usage(), "", {})
    assert (spending.orders, spending.unknown_outcomes) == (1, 0)
    assert [request.method for request in server.requests] == ["POST", "GET", "GET", "GET", "GET"]
    assert all(b"authorization" not in request.head.lower() for request in server.requests[1:])


async def test_a_url_that_stays_lost_is_in_the_error() -> None:
    with MisbehavingServer([], [reply(410)]) as server:
        async with client_of(server) as client:
            with pytest.raises(DownloadError, match="HTTP 410") as caught:
                await client.fetch(f"{server.origin}/fox")

    assert caught.value.urls == (f"{server.origin}/fox",)


async def test_a_page_in_place_of_the_image_is_in_the_error(tmp_path: Path) -> None:
    with MisbehavingServer([], [reply(200, b"<html>")]) as server:
        async with client_of(server) as client:
            with pytest.raises(errors.DecodeError) as caught:
                await client.fetch(f"{server.origin}/fox", to=tmp_path / "fox.png")

    assert caught.value.data == b"<html>"
    assert list(tmp_path.iterdir()) == []


async def test_a_fetch_ends_at_its_deadline() -> None:
    with MisbehavingServer([], [SILENCE]) as server:
        async with client_of(server) as client:
            with pytest.raises(DeadlineExceededError, match="passed while downloading") as caught:
                await client.fetch(f"{server.origin}/fox", deadline=0.2)

    assert caught.value.urls == (f"{server.origin}/fox",)


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "https://127.0.0.1:1/fox", "file:///etc/passwd", "x"])
async def test_a_url_that_no_image_has_is_not_requested(url: str) -> None:
    async with ImageClient(KEY) as client:
        with pytest.raises(DownloadError):
            await client.fetch(url)


async def test_what_cannot_be_a_fetch_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fox.jpg").touch()
    async with ImageClient(KEY) as client:
        with pytest.raises(errors.InvalidRequestError, match="url must be the URL of an image, got None"):
            await client.fetch(None)  # type: ignore[arg-type]
        with pytest.raises(errors.InvalidRequestError, match=r"already exists: .*fox.jpg \(to replace it, pass overwr"):
            await client.fetch("https://images.example/fox", to=tmp_path / "fox.jpg")
