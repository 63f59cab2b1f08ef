"""`ImageClient.edit` against the emulator on a real port."""

from __future__ import annotations

import asyncio
import io
from collections import deque
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from aimlapi_images import GeneratedImage, ImageClient, RetryPolicy, emulator, mask_from_box
from aimlapi_images.orders.edit import EditOrder
from aimlapi_images.threads import Threads
from conftest import KEY, PIXEL_ANSWER, Script, scripted, without_nonces

MODEL = "openai/gpt-image-1-5"
BOX = (40, 20, 30, 50)
# A size that the model makes, so that an edit keeps it, and a box in it.
SIZE = (1536, 1024)
WIDE_BOX = (500, 250, 400, 500)


def png(mode: str = "RGB", size: tuple[int, int] = (120, 90), color: Any = (200, 40, 40)) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, "PNG")
    return file.getvalue()


def noisy(size: tuple[int, int] = (120, 90)) -> Image.Image:
    """A picture whose regions all differ."""
    return Image.merge("RGB", [Image.effect_noise(size, sigma) for sigma in (20.0, 60.0, 90.0)])


def inverted(mask: Image.Image) -> Image.Image:
    mask = mask.copy()
    mask.putalpha(mask.getchannel("A").point(lambda alpha: 255 - alpha))
    return mask


def same_pixels(one: Image.Image, other: Image.Image, where: Image.Image) -> bool:
    """Whether two pictures are equal wherever a third, black-and-white one is white."""
    black = Image.new("RGB", one.size)
    shown = [Image.composite(each.convert("RGB"), black, where).tobytes() for each in (one, other)]
    return shown[0] == shown[1]


async def test_images_can_be_edited_in_a_chain(client: ImageClient) -> None:
    day = await client.generate("A quiet harbour")
    night = await client.edit("make it night", image=day)

    assert isinstance(night, GeneratedImage)
    assert (night.prompt, night.parameters) == ("make it night", {"model": MODEL})
    assert (night.format, night.width, night.height) == ("png", 1024, 1024)
    assert night.sha256 != day.sha256
    assert (night.usage.credits_used, night.usage.usd_spent, night.attempts) == (68_000, 0.034, 1)
    assert client.spending.usd_spent == pytest.approx(0.068)


async def test_pixels_outside_a_mask_stay_the_same(client: ImageClient) -> None:
    before = noisy(SIZE)
    mask = mask_from_box(before, WIDE_BOX)

    right = (await client.edit("a boat", image=before, mask=mask)).to_pil()
    wrong = (await client.edit("a boat", image=before, mask=inverted(mask))).to_pil()

    kept = mask.getchannel("A")
    marked = kept.point(lambda alpha: 255 - alpha)
    assert right.size == wrong.size == before.size
    assert same_pixels(before, right, kept)
    assert not same_pixels(before, right, marked)
    assert same_pixels(before, wrong, marked)
    assert not same_pixels(before, wrong, kept)
    assert not same_pixels(right, wrong, kept)


@pytest.mark.parametrize("kind", ["str", "path", "bytes", "bytearray", "memoryview", "file", "pillow", "generated"])
async def test_an_image_can_be_given_in_any_form(client: ImageClient, tmp_path: Path, kind: str) -> None:
    data = png()
    path = tmp_path / "cat.png"
    path.write_bytes(data)
    opened = Image.open(path)
    given: dict[str, Any] = {
        "str": str(path),
        "path": path,
        "bytes": data,
        "bytearray": bytearray(data),
        "memoryview": memoryview(data),
        "file": io.BytesIO(data),
        "pillow": opened,
        "generated": await client.generate("x", quality="low"),
    }

    image = await client.edit("paint it", image=given[kind])
    listed = await client.edit("paint it", image=[given[kind] if kind != "file" else data])
    opened.close()

    assert (image.width, image.height) == ((1024, 1024) if kind == "generated" else SIZE)
    assert listed.sha256 == image.sha256


async def test_a_mask_can_be_given_in_any_form(client: ImageClient, tmp_path: Path) -> None:
    mask = mask_from_box(noisy(), BOX)
    path = tmp_path / "mask.png"
    mask.save(path)
    before = noisy()

    forms = (mask, path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()))
    images = [await client.edit("a boat", image=before, mask=form) for form in forms]

    assert len({image.sha256 for image in images}) == 1


async def test_an_edited_image_with_its_alpha_channel_can_be_edited_again(client: ImageClient) -> None:
    cut_out = await client.generate("a paper boat", background="transparent", output_format="webp")
    again = await client.edit("more of them", image=cut_out, background="transparent", output_format="webp")

    assert again.format == "webp"
    assert again.to_pil().convert("RGBA").getchannel("A").getextrema() == (0, 255)


@pytest.mark.parametrize("response_format", ["url", "b64_json", None])
@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
async def test_size_and_format_are_as_requested(client: ImageClient, response_format: Any, output_format: Any) -> None:
    image = await client.edit(
        "wider", image=png(), size="1536x1024", output_format=output_format, response_format=response_format,
        quality="low", output_compression=60 if output_format != "png" else None,
    )  # fmt: skip

    assert (image.format, image.width, image.height) == (output_format, 1536, 1024)
    assert (image.url is None) == (response_format == "b64_json")
    assert image.usage.usd_spent == 0.013


async def test_several_references_appear_in_one_composition(client: ImageClient) -> None:
    colors = [(230, 20, 20), (20, 230, 20), (20, 20, 230), (230, 20, 230), (20, 230, 230)]

    image = await client.edit("a gallery", image=[png(color=color) for color in colors], size="1024x1024")

    pixels = image.to_pil().convert("RGB").tobytes()
    shares = [pixels.count(bytes(color)) / (1024 * 1024) for color in colors]
    assert all(share > 0.01 for share in shares), shares


async def test_any_sequence_of_images_is_accepted() -> None:
    client, script = scripted()

    await client.edit("x", image=deque([png(), png()]))

    assert script.requests[0].content.count(b'name="image[]"') == 2


async def test_a_reference_beside_a_mask_appears_inside_it(client: ImageClient) -> None:
    before, blue = noisy(SIZE), (10, 20, 250)
    mask = mask_from_box(before, (400, 200, 800, 600))

    image = (await client.edit("this, there", image=[before, png(color=blue)], mask=mask)).to_pil().convert("RGB")

    assert image.getpixel((800, 500)) == blue
    assert same_pixels(before, image, mask.getchannel("A"))


async def test_to_writes_the_image_and_replaces_no_file(client: ImageClient, tmp_path: Path) -> None:
    source = tmp_path / "cat.png"
    source.write_bytes(png())

    image = await client.edit("paint it", image=source, to=tmp_path / "painted", output_format="jpeg")

    assert image.path == tmp_path / "painted.jpg"
    assert image.path.read_bytes() == image.data
    with pytest.raises(ValueError, match="the file already exists"):
        await client.edit("paint it", image=source, to=source)
    assert source.read_bytes() == png()


async def test_a_retry_sends_the_whole_request_again(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(png() + bytes(600_000))
    bodies: list[tuple[str | None, bytes]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        boundary = request.headers["content-type"].partition("boundary=")[2].encode()
        bodies.append((request.headers["x-client-request-id"], request.content.replace(boundary, b"B")))
        return (
            httpx.Response(200, json=PIXEL_ANSWER)
            if len(bodies) == 3
            else httpx.Response(502, json={"message": "Later."})
        )

    policy = RetryPolicy(first_wait=0.001, longest_wait=0.001)
    async with ImageClient(KEY, transport=Script(answer).transport, retry=policy) as client:
        image = await client.edit("again", image=[path, io.BytesIO(png())], order="o")

    assert image.attempts == 3
    assert [without_nonces(str(name)) for name, _ in bodies] == ["o.1", "o.2", "o.3"]
    assert bodies[0][1] == bodies[1][1] == bodies[2][1]
    assert bodies[0][1].count(path.read_bytes()) == 1


async def test_none_is_not_sent_and_options_are(tmp_path: Path) -> None:
    client, script = scripted()

    await client.edit(
        "x", image=png(), options={"n": 1, "seed": None}, extra_body={"user": "me", "fast": True, "share": 0.5}
    )

    body = script.requests[0].content
    names = [part.split(b'"')[1] for part in body.split(b"form-data; name=")[1:]]
    assert names == [b"prompt", b"fast", b"model", b"n", b"share", b"user", b"image"]
    assert b'name="fast"\r\n\r\ntrue\r\n' in body
    assert b'name="share"\r\n\r\n0.5\r\n' in body


async def test_edits_and_generations_share_one_queue_and_one_ledger() -> None:
    client, script = scripted()

    await asyncio.gather(*(client.edit("x", image=png()) for _ in range(20)), client.generate("y"))

    assert len(script.requests) == 21
    assert client.spending.unpriced == 21


async def test_an_unknown_model_is_sent_unchecked() -> None:
    client, script = scripted()

    await client.edit("x", image=png(), model="acme/new", options={"size": "7x7"})

    assert b'name="size"\r\n\r\n7x7\r\n' in script.requests[0].content


@pytest.mark.parametrize("stream", [False, True])
async def test_the_openai_sdk_edits_with_the_emulator(emulator_url: str, tmp_path: Path, stream: bool) -> None:
    before = noisy(SIZE)
    before.save(tmp_path / "before.png")
    mask_from_box(before, WIDE_BOX).save(tmp_path / "mask.png")
    async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{emulator_url}/v1", max_retries=0) as client:
        answer = await client.images.edit(
            model=MODEL,
            prompt="a boat",
            image=tmp_path / "before.png" if stream else ("b.png", (tmp_path / "before.png").read_bytes(), "image/png"),
            mask=tmp_path / "mask.png",
        )

        assert answer.data
        assert answer.data[0].url
        data = (await asyncio.to_thread(httpx.get, answer.data[0].url)).content
        after = Image.open(io.BytesIO(data))
        assert same_pixels(before, after, mask_from_box(before, WIDE_BOX).getchannel("A"))
        with pytest.raises(openai.BadRequestError, match="Body validation error"):
            await client.images.edit(model=MODEL, prompt="x", image=png())  # as application/octet-stream


async def test_the_repr_of_an_order_does_not_show_its_uploads(threads: Threads) -> None:
    new = EditOrder.new("x", model=MODEL, parameters={})
    order = await new.with_images(png(), mask_from_box(png(), BOX), threads)

    assert "IHDR" not in repr(order)
    assert "content=<" in repr(order)


async def test_the_emulator_draws_the_same_edit_again() -> None:
    async with (
        ImageClient(KEY, transport=emulator.transport()) as one,
        ImageClient(KEY, transport=emulator.transport()) as other,
    ):
        first, second = await one.edit("x", image=png()), await other.edit("x", image=png())
        third = await one.edit("y", image=png())

    assert first.sha256 == second.sha256
    assert third.sha256 != first.sha256


async def test_several_images_of_one_edit_are_all_returned(client: ImageClient, tmp_path: Path) -> None:
    image = await client.edit("x", image=png(), options={"n": 3}, to=tmp_path / "fox")

    assert [each.path and each.path.name for each in (image, *image.others)] == ["fox.png", "fox-2.png", "fox-3.png"]
