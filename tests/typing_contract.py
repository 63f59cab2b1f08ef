"""Checked by mypy, never run: what the types promise to callers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import assert_type

import httpx
from PIL.Image import Image

from aimlapi_images import GeneratedImage, ImageClient, RateLimitError, RetryPolicy, Usage, aiohttp_transport, emulator


async def generate() -> None:
    async with ImageClient("key", base_url="https://api.aimlapi.com", timeout=30) as client:
        assert_type(client, ImageClient)
        image = await client.generate("x", size="1536x1024", quality="low", options={"user": "me"}, to=Path("x"))
        assert_type(image, GeneratedImage)
        assert_type(await asyncio.gather(*(client.generate(p) for p in "ab")), list[GeneratedImage])
        assert_type(image.usage, Usage)
        assert_type(image.usage.usd_spent, float | None)
        assert_type(image.path, Path | None)
        assert_type(await image.save("x", overwrite=True), Path)
        assert_type(image.to_pil(), Image)

        await client.generate("x", size="1x1")  # type: ignore[arg-type]
        await client.generate("x", background="clear")  # type: ignore[arg-type]
        await client.generate("x", output_compression="9")  # type: ignore[arg-type]
        await client.generate("x", "1024x1024")  # type: ignore[call-arg]


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
