"""The types that callers rely on. Checked by mypy, never run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import BinaryIO, TextIO, Unpack, assert_type

import httpx
from PIL.Image import Image

from aimlapi_images import (
    EditOptions,
    Event,
    GeneratedImage,
    GenerateOptions,
    ImageClient,
    ImageInput,
    LogPage,
    Observer,
    OutputFormat,
    Quality,
    RateLimitError,
    RetryPolicy,
    Size,
    Usage,
    aiohttp_transport,
    emulator,
    mask_from_box,
    mask_from_luminance,
)


async def generate() -> None:
    async with ImageClient("key", base_url="https://api.aimlapi.com", timeout=30) as client:
        assert_type(client, ImageClient)
        image = await client.generate("x", size="1536x1024", quality="low", options={"n": 1}, to=Path("x"))
        assert_type(image, GeneratedImage)
        assert_type(await asyncio.gather(*(client.generate(p) for p in "ab")), list[GeneratedImage])
        assert_type(image.usage, Usage)
        assert_type(image.usage.usd_spent, float | None)
        assert_type(image.path, Path | None)
        assert_type(await image.save("x", overwrite=True), Path)
        assert_type(image.to_pil(), Image)
        assert_type(await client.fetch("https://images.example/fox", to="fox", overwrite=True), GeneratedImage)
        assert_type([page async for page in client.log_pages(period="day", status="failed")], list[LogPage])

        # Any text, for other models: what the model does not accept is refused before it is sent.
        await client.generate("x", model="acme/new", size="1792x1024", quality="hd", extra_body={"user": "me"})
        await client.generate("x", size=1024)  # type: ignore[arg-type]
        await client.generate("x", output_compression="9")  # type: ignore[arg-type]
        await client.generate("x", "1024x1024")  # type: ignore[call-arg]


async def edit(client: ImageClient, picture: Image, file: BinaryIO, text: TextIO) -> None:
    day = await client.generate("x")
    inputs: list[ImageInput] = ["a.png", Path("a.png"), b"", file, picture, day]
    assert_type(await client.edit("x", image=day), GeneratedImage)
    assert_type(mask_from_box(day, (1, 2, 3, 4)), Image)
    assert_type(mask_from_luminance(Path("x"), invert=True), Image)
    await client.edit("x", image=inputs, mask=mask_from_luminance("x"), size="1024x1024", to="x", order="o")
    await client.edit("x", image=("a.png", picture), mask=b"", quality="low", output_format="webp", deadline=5)

    await client.edit("x")  # type: ignore[call-arg]
    await client.edit("x", day)  # type: ignore[call-arg]
    await client.edit("x", image=5)  # type: ignore[arg-type]
    await client.edit("x", image=text)  # type: ignore[arg-type]
    await client.edit("x", image=day, size=1)  # type: ignore[arg-type]
    await client.edit("x", image=day, moderation="low")  # type: ignore[call-arg]


async def values(client: ImageClient, size: Size, quality: Quality, output_format: OutputFormat) -> None:
    await client.generate("x", size=size, quality=quality, output_format=output_format)
    await client.edit("x", image=b"", size=size, quality=quality, output_format=output_format)


async def generated(client: ImageClient, prompt: str, **options: Unpack[GenerateOptions]) -> GeneratedImage:
    return await client.generate(prompt, **options)


async def edited(client: ImageClient, prompt: str, **options: Unpack[EditOptions]) -> GeneratedImage:
    return await client.edit(prompt, image="a.png", **options)


async def configured(client: ImageClient) -> None:
    config: GenerateOptions = {"size": "1792x1024", "to": "x", "extra_body": {"user": "me"}, "moderation": None}
    await client.generate("x", **config)
    await generated(client, "x", **config)
    await generated(client, "x", quality="low", deadline=5)
    await edited(client, "x", mask=b"", size="1024x1024")

    await generated(client, "x", sise="1024x1024")  # type: ignore[call-arg]
    config["size"] = 5  # type: ignore[typeddict-item]
    await client.edit("x", image=b"", **config)  # type: ignore[misc]


def observers() -> None:
    async def tell(event: Event) -> None: ...
    def plain(event: Event) -> None: ...

    observer: Observer = tell
    ImageClient(observer=observer)
    ImageClient(observer=plain)  # type: ignore[arg-type]


def transports() -> None:
    ImageClient(transport=emulator.transport(), download_transport=httpx.AsyncHTTPTransport())
    ImageClient(transport=aiohttp_transport())


def limits() -> None:
    ImageClient(requests_per_minute=60, deadline=120, retry=RetryPolicy(attempts=2, retry_unknown="always"))
    RetryPolicy(retry_unknown="perhaps")  # type: ignore[arg-type]
    RetryPolicy(3)  # type: ignore[call-arg]


def errors(error: RateLimitError) -> None:
    assert_type(error.retry_after, float | None)
    assert_type(error.status, int)
    assert_type(error.order, str | None)
