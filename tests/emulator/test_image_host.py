"""The image host: entity tags, ranges, and a port of its own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from aimlapi_images import ImageClient, emulator
from aimlapi_images.emulator import RunningEmulator

BODY = {"model": "openai/gpt-image-1-5", "prompt": "A fox"}
AUTH = {"Authorization": "Bearer any-key"}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningEmulator]:
    with emulator.serve(drawing="plain", image_port=0) as running:
        yield running


@pytest.fixture(scope="module")
def url(running: RunningEmulator) -> str:
    answer = httpx.post(f"{running.base_url}/v1/images/generations", json=BODY, headers=AUTH, timeout=60)
    url: str = answer.json()["data"][0]["url"]
    return url


def test_images_are_on_a_port_of_their_own(running: RunningEmulator, url: str) -> None:
    images, path = url.split("/generations")
    on_api = httpx.get(f"{running.base_url}/generations{path}")
    api_there = httpx.post(f"{images}/v1/images/generations", json=BODY, headers=AUTH)

    assert images != running.base_url
    assert httpx.get(url).headers["content-type"] == "image/png"
    assert (on_api.status_code, api_there.status_code) == (404, 404)
    assert on_api.json()["message"] == "Images are on another port: that of their URLs."
    assert api_there.json()["message"] == "This is the image host, which has images only."


async def test_the_client_fetches_images_from_there(running: RunningEmulator) -> None:
    async with ImageClient("any-key", base_url=running.base_url) as client:
        image = await client.generate("A fox")

    assert image.format == "png"
    assert image.url is not None
    assert not image.url.startswith(running.base_url)


def test_an_entity_tag_saves_the_download(url: str) -> None:
    whole = httpx.get(url)
    again = httpx.get(url, headers={"If-None-Match": whole.headers["etag"]})
    other = httpx.get(url, headers={"If-None-Match": '"other"'})

    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", whole.headers["etag"])
    assert other.content == whole.content


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-99", slice(0, 100)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-50", slice(-50, None)),
        ("bytes=5-9999999", slice(5, None)),
    ],
)
def test_a_range_is_part_of_the_image(url: str, wanted: str, part: slice) -> None:
    whole = httpx.get(url).content

    answer = httpx.get(url, headers={"Range": wanted})

    assert (answer.status_code, answer.content) == (206, whole[part])
    first, last, _ = part.indices(len(whole))
    assert answer.headers["content-range"] == f"bytes {first}-{last - 1}/{len(whole)}"


@pytest.mark.parametrize("wanted", ["bytes=9999999-", "bytes=5-4", "bytes=-0"])
def test_a_range_outside_the_image_is_refused(url: str, wanted: str) -> None:
    answer = httpx.get(url, headers={"Range": wanted})

    assert (answer.status_code, answer.content) == (416, b"")


@pytest.mark.parametrize("headers", [{"Range": "bytes=0-1,4-5"}, {"Range": "lines=1-2"}, {"Range": "bytes=-"}])
def test_other_ranges_get_the_whole_image(url: str, headers: dict[str, str]) -> None:
    assert httpx.get(url, headers=headers).content == httpx.get(url).content


def test_a_range_of_a_changed_image_gets_the_whole_one(url: str) -> None:
    answer = httpx.get(url, headers={"Range": "bytes=0-9", "If-Range": '"other"'})

    assert (answer.status_code, answer.content) == (200, httpx.get(url).content)
