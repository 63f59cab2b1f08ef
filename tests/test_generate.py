"""`ImageClient.generate` against a real server."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aimlapi_images import (
    ConnectionFailedError,
    GeneratedImage,
    ImageClient,
    InvalidRequestError,
    NotSavedError,
    emulator,
)
from conftest import KEY, PIXEL, PIXEL_ANSWER, scripted, without_nonces


@pytest.mark.parametrize("response_format", ["url", "b64_json", None])
async def test_the_image_may_come_as_base64_or_as_a_url(client: ImageClient, response_format: Any) -> None:
    image = await client.generate("A fox in the snow", size="1536x1024", response_format=response_format)

    assert (image.format, image.media_type, image.width, image.height) == ("png", "image/png", 1536, 1024)
    assert image.to_pil().size == (1536, 1024)
    assert (image.url is None) == (response_format == "b64_json")
    assert image.usage.credits_used == 100_000
    assert image.usage.usd_spent == 0.05
    assert image.inference_id
    assert image.attempts == 1
    assert image.seconds > 0


async def test_base64_and_url_give_the_same_bytes(client: ImageClient) -> None:
    by_url, inline = await asyncio.gather(
        client.generate("twins", response_format="url"), client.generate("twins", response_format="b64_json")
    )

    assert by_url.data == inline.data
    assert by_url.sha256 == inline.sha256


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
async def test_every_format_is_as_requested(client: ImageClient, output_format: Any) -> None:
    image = await client.generate("formats", output_format=output_format, size="1024x1536")

    assert image.format == output_format
    assert (image.to_pil().format or "").lower() == output_format
    assert (image.width, image.height) == image.to_pil().size == (1024, 1536)


async def test_none_is_not_sent() -> None:
    client, script = scripted()

    await client.generate("nothing else")

    assert script.body == {"model": "openai/gpt-image-1-5", "prompt": "nothing else"}


async def test_every_parameter_is_sent_under_its_own_name() -> None:
    client, script = scripted()

    image = await client.generate(
        "all of them",
        size="1024x1536",
        quality="high",
        background="transparent",
        moderation="low",
        output_format="webp",
        output_compression=40,
        response_format="b64_json",
        options={"n": 1, "seed": None},
        extra_body={"user": "someone"},
    )

    parameters = {
        "model": "openai/gpt-image-1-5",
        "size": "1024x1536",
        "quality": "high",
        "background": "transparent",
        "moderation": "low",
        "output_format": "webp",
        "output_compression": 40,
        "response_format": "b64_json",
        "n": 1,
        "user": "someone",
    }
    assert script.body == {"prompt": "all of them", **parameters}
    assert image.prompt == "all of them"
    assert image.parameters == parameters


async def test_a_request_has_the_key_an_id_and_a_user_agent() -> None:
    client, script = scripted()

    image = await client.generate("headers", order="batch-7:line.12")

    (request,) = script.requests
    assert str(request.url) == "https://api.aimlapi.com/v1/images/generations"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert without_nonces(request.headers["x-client-request-id"]) == "batch-7:line.12.1"
    assert request.headers["user-agent"].startswith("aimlapi-images/")
    assert image.order == "batch-7:line.12"


async def test_custom_headers_go_to_the_api_only() -> None:
    url = {"data": [{"url": "https://cdn.example/a.png"}]}
    answers = (httpx.Response(201, json=url), httpx.Response(200, content=PIXEL))
    _, script = scripted(*answers)
    client = ImageClient(KEY, transport=script.transport, headers={"X-Team": "art"})

    await client.generate("headers")

    api, image_host = script.requests
    assert api.headers["x-team"] == "art"
    assert "x-team" not in image_host.headers
    assert "authorization" not in image_host.headers


async def test_a_model_that_the_schema_does_not_describe_is_sent_unchecked() -> None:
    client, script = scripted()

    await client.generate("new", model="acme/brand-new", options={"size": "9x9", "wings": True})

    assert script.body == {"model": "acme/brand-new", "prompt": "new", "size": "9x9", "wings": True}


async def test_to_writes_the_image_and_returns_its_path(client: ImageClient, tmp_path: Path) -> None:
    image = await client.generate("written", to=tmp_path / "picture", output_format="jpeg")

    assert image.path == tmp_path / "picture.jpg"
    assert image.path.read_bytes() == image.data
    assert [image.path] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("to", "options", "sent", "written"),
    [
        ("fox.jpg", {}, "jpeg", "fox.jpg"),
        ("fox.JPEG", {}, "jpeg", "fox.JPEG"),
        ("fox.webp", {}, "webp", "fox.webp"),
        ("fox.png", {}, "png", "fox.png"),
        ("fox", {}, None, "fox.png"),
        ("fox-1.5", {}, None, "fox-1.5.png"),
        ("fox.jpg", {"output_format": "webp"}, "webp", "fox.webp"),
        ("fox.jpg", {"options": {"output_format": "webp"}}, "webp", "fox.webp"),
        ("fox.gif", {"output_format": "png"}, "png", "fox.png"),
    ],
)
async def test_the_extension_requests_its_format_unless_output_format_is_given(
    client: ImageClient, tmp_path: Path, to: str, options: dict[str, Any], sent: str | None, written: str
) -> None:
    image = await client.generate("A fox", to=tmp_path / to, **options)
    edited = await client.edit("A fox", image=image, to=tmp_path / f"edited-{to}", **options)

    assert (image.path, edited.path) == (tmp_path / written, tmp_path / f"edited-{written}")
    assert [each.parameters.get("output_format") for each in (image, edited)] == [sent, sent]


async def test_an_extension_of_an_unsupported_format_is_refused_before_sending() -> None:
    client, script = scripted()
    message = r"fox\.gif: openai/gpt-image-1-5 cannot make gif, only png, jpeg, webp: change the extension"

    with pytest.raises(InvalidRequestError, match=message):
        await client.generate("x", to="fox.gif")
    with pytest.raises(InvalidRequestError, match=message):
        await client.edit("x", image=PIXEL, to="fox.gif")
    with pytest.raises(InvalidRequestError, match='"transparent" needs output_format "png" or "webp"'):
        await client.generate("x", to="fox.jpg", background="transparent")

    assert script.requests == []


async def test_an_extension_requests_no_format_of_an_unknown_model(tmp_path: Path) -> None:
    client, script = scripted()

    image = await client.generate("x", model="acme/new", to=tmp_path / "fox.gif")

    assert script.body == {"model": "acme/new", "prompt": "x"}
    assert image.path == tmp_path / "fox.png"


async def test_a_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_bytes(b"old")
    client, script = scripted()

    with pytest.raises(InvalidRequestError, match=r"already exists: .*pass overwrite=True"):
        await client.generate("x", to=tmp_path / "fox.png")
    assert script.requests == []

    image = await client.generate("x", to=tmp_path / "fox.png", overwrite=True)
    assert image.data == (tmp_path / "fox.png").read_bytes() == PIXEL
    assert len(list(tmp_path.iterdir())) == 1


async def test_the_log_names_an_order_that_is_cancelled_while_it_is_open(caplog: pytest.LogCaptureFixture) -> None:
    sent = asyncio.Event()

    async def hang(_: httpx.Request) -> httpx.Response:
        sent.set()
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    async with ImageClient(KEY, transport=httpx.MockTransport(hang)) as client:
        task = asyncio.create_task(client.generate("x", order="mine"))
        await sent.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert "order mine: stopped while attempt mine.1 was open: it may be billed" in map(without_nonces, caplog.messages)


async def test_an_image_that_cannot_be_written_is_in_the_error(tmp_path: Path) -> None:
    def take_the_name(request: httpx.Request) -> httpx.Response:
        (tmp_path / "picture.png").write_text("somebody else's")
        return httpx.Response(200, json=PIXEL_ANSWER)

    client, _ = scripted(take_the_name)

    with pytest.raises(NotSavedError, match="the file already exists") as caught:
        await client.generate("late", to=tmp_path / "picture.png")

    assert caught.value.image.data == PIXEL
    assert (tmp_path / "picture.png").read_text() == "somebody else's"
    assert len(list(tmp_path.iterdir())) == 1


async def test_a_gather_never_exceeds_the_limit_of_open_requests() -> None:
    orders, limit = 208, 16  # a multiple, so that every request finds the others of its group
    now, most, seen = 0, 0, 0
    group = asyncio.Barrier(limit)

    async def answer(request: Request) -> Response:
        nonlocal now, most, seen
        now, seen = now + 1, seen + 1
        most = max(most, now)
        await request.body()
        await group.wait()
        now -= 1
        return JSONResponse(PIXEL_ANSWER)

    app = Starlette(routes=[Route("/v1/images/generations", answer, methods=["POST"])])
    with emulator.serve(app) as server:
        async with ImageClient(KEY, base_url=server.base_url, max_concurrency=limit) as client:
            images = await asyncio.gather(*(client.generate(f"number {number}") for number in range(orders)))

    assert [image.prompt for image in images] == [f"number {number}" for number in range(orders)]
    assert (seen, most) == (orders, limit)


async def test_cancelled_calls_free_their_slots() -> None:
    arrived = threading.Semaphore(0)

    async def answer(request: Request) -> Response:
        body = await request.json()
        if body["prompt"] == "slow":
            arrived.release()
            await asyncio.sleep(60)
        return JSONResponse(PIXEL_ANSWER)

    app = Starlette(routes=[Route("/v1/images/generations", answer, methods=["POST"])])
    with emulator.serve(app) as server:
        async with ImageClient(KEY, base_url=server.base_url, max_concurrency=4) as client:
            slow = [asyncio.create_task(client.generate("slow")) for _ in range(20)]
            for _ in range(4):
                await asyncio.to_thread(arrived.acquire)
            for task in slow:
                task.cancel()
            cancelled = await asyncio.gather(*slow, return_exceptions=True)
            quick = await asyncio.gather(*(client.generate("quick") for _ in range(20)))

    assert all(isinstance(each, asyncio.CancelledError) for each in cancelled)
    assert [image.data for image in quick] == [PIXEL] * 20


async def test_one_failure_does_not_affect_other_orders(client: ImageClient) -> None:
    results = await asyncio.gather(
        client.generate("one"), client.generate(""), client.generate("three"), return_exceptions=True
    )

    assert isinstance(results[0], GeneratedImage)
    assert isinstance(results[1], InvalidRequestError)
    assert isinstance(results[2], GeneratedImage)


async def test_the_emulator_runs_in_the_same_process() -> None:
    async with ImageClient("any-key", transport=emulator.transport()) as client:
        image = await client.generate("no port, no network")

    assert Image.open(io.BytesIO(image.data)).size == (1024, 1024)


def test_a_client_belongs_to_one_event_loop() -> None:
    client, script = scripted()
    asyncio.run(client.generate("first"))

    with pytest.raises(InvalidRequestError, match="belongs to another event loop"):
        asyncio.run(client.generate("second"))
    assert len(script.requests) == 1


async def test_a_second_order_for_the_same_file_is_refused(client: ImageClient, tmp_path: Path) -> None:
    results = await asyncio.gather(
        client.generate("one", to=tmp_path / "same"),
        client.generate("two", to=tmp_path / "same.png"),
        client.generate("three", to=tmp_path / "same", output_format="webp"),
        return_exceptions=True,
    )

    assert isinstance(results[0], GeneratedImage)
    assert isinstance(results[1], InvalidRequestError)
    assert "another order of this client writes to" in str(results[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["same.png", "same.webp"]


async def test_a_path_can_be_used_again_after_a_failure(tmp_path: Path) -> None:
    client, _ = scripted(httpx.ConnectError("no"), httpx.Response(200, json=PIXEL_ANSWER))

    for _ in range(2):
        with contextlib.suppress(ConnectionFailedError):
            await client.generate("again", to=tmp_path / "fox")

    assert (tmp_path / "fox.png").read_bytes() == PIXEL


async def test_a_closed_client_refuses_orders() -> None:
    client, script = scripted()
    async with client:
        await client.generate("open")

    with pytest.raises(InvalidRequestError, match="this client is closed"):
        await client.generate("closed")
    assert len(script.requests) == 1
