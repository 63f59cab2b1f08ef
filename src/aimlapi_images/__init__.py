"""Async SDK for AI/ML API's image model `openai/gpt-image-1-5`.

async with ImageClient() as client:
    image = await client.generate("A T-Rex relaxing on a beach", size="1536x1024")
    await image.save("trex")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aimlapi_images.client import ImageClient
    from aimlapi_images.errors import (
        APIStatusError,
        AuthenticationError,
        ConnectionFailedError,
        ContentPolicyError,
        DeadlineExceededError,
        DecodeError,
        DownloadError,
        ImageError,
        InsufficientCreditsError,
        InvalidRequestError,
        NoImageError,
        NotFoundError,
        NotSavedError,
        OutcomeUnknownError,
        ProxyTimeoutError,
        RateLimitError,
        ServerError,
    )
    from aimlapi_images.images import GeneratedImage, Usage
    from aimlapi_images.retries import RetryPolicy
    from aimlapi_images.spending import Spending
    from aimlapi_images.transports import aiohttp_transport

__all__ = [
    "APIStatusError",
    "AuthenticationError",
    "ConnectionFailedError",
    "ContentPolicyError",
    "DeadlineExceededError",
    "DecodeError",
    "DownloadError",
    "GeneratedImage",
    "ImageClient",
    "ImageError",
    "InsufficientCreditsError",
    "InvalidRequestError",
    "NoImageError",
    "NotFoundError",
    "NotSavedError",
    "OutcomeUnknownError",
    "ProxyTimeoutError",
    "RateLimitError",
    "RetryPolicy",
    "ServerError",
    "Spending",
    "Usage",
    "aiohttp_transport",
]

_HOMES = {
    "ImageClient": "client",
    "GeneratedImage": "images",
    "RetryPolicy": "retries",
    "Spending": "spending",
    "Usage": "images",
    "aiohttp_transport": "transports",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that `--help` need not load the HTTP client."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
