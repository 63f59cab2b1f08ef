"""An answer with several images: nothing that is paid for is thrown away."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx
import pytest

from aimlapi_images import ImageClient, RetryPolicy, Usage, errors, steps
from conftest import KEY, PIXEL, Script

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


async def test_each_is_written_beside_the_first_and_over_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "fox-2.gif").write_text("precious")
    client = client_for(httpx.Response(200, json={"data": [entry(PIXEL), entry(GIF), entry(GIF), entry(PIXEL)]}))

    image = await client.generate("x", to=tmp_path / "fox")

    names = [each.path and each.path.name for each in (image, *image.others)]
    assert names == ["fox.png", "fox-3.gif", "fox-4.gif", "fox-5.png"]
    assert [each.path and each.path.read_bytes() for each in image.others] == [GIF, GIF, PIXEL]
    assert (tmp_path / "fox-2.gif").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 5


async def test_what_cannot_be_fetched_does_not_take_the_rest_with_it() -> None:
    body = {"data": [{"url": "https://a/lost"}, entry(PIXEL), entry(GIF)], **COST}
    client = client_for(httpx.Response(200, json=body, headers={"x-inference-id": "i"}), httpx.Response(404))

    with pytest.raises(errors.DownloadError) as caught:
        await client.generate("x")

    assert [image.data for image in caught.value.images] == [PIXEL, GIF]
    assert caught.value.url == "https://a/lost"
    assert (caught.value.usage, caught.value.inference_id) == (Usage(10, 0.000005), "i")


@pytest.mark.parametrize("broken", [{"b64_json": "@@@"}, entry(b"<html>")])
async def test_what_is_not_an_image_does_not_take_the_rest_with_it(broken: dict[str, str]) -> None:
    client = client_for(httpx.Response(200, json={"data": [entry(PIXEL), broken]}))

    with pytest.raises(errors.DecodeError) as caught:
        await client.generate("x")

    assert [image.data for image in caught.value.images] == [PIXEL]
    assert client.spending.orders == 1


async def test_every_url_is_told_before_the_first_is_fetched() -> None:
    told: list[steps.Step] = []

    async def observer(step: steps.Step) -> None:
        told.append(step)

    client = client_for(
        httpx.Response(200, json={"data": [{"url": "https://a/1"}, entry(PIXEL), {"url": "https://a/2"}]}),
        httpx.Response(200, content=PIXEL),
        observer=observer,
    )

    await client.generate("x")

    (generated,) = (step for step in told if isinstance(step, steps.Generated))
    assert generated.urls == ("https://a/1", "https://a/2")
