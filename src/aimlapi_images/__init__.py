"""Async SDK for AI/ML API's image model `openai/gpt-image-1-5`.

async with ImageClient() as client:
    image = await client.generate("A T-Rex relaxing on a beach", size="1536x1024")
    await image.save("trex")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aimlapi_images.account import Balance, LogEntry, LogPage
    from aimlapi_images.client import ImageClient
    from aimlapi_images.dispatch.budget import Budget
    from aimlapi_images.dispatch.retry import RetryPolicy
    from aimlapi_images.errors import (
        APIStatusError,
        AuthenticationError,
        BudgetExceededError,
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
    from aimlapi_images.events import Observer, Step
    from aimlapi_images.models import GeneratedImage
    from aimlapi_images.orders.image_input import ImageInput
    from aimlapi_images.orders.mask import mask_from_box, mask_from_luminance
    from aimlapi_images.spending import Spending, Usage
    from aimlapi_images.transports import aiohttp_transport
    from aimlapi_rest.models import ImageGenerationRequestBackground as Background
    from aimlapi_rest.models import ImageGenerationRequestModeration as Moderation
    from aimlapi_rest.models import ImageGenerationRequestOutputFormat as OutputFormat
    from aimlapi_rest.models import ImageGenerationRequestQuality as Quality
    from aimlapi_rest.models import ImageGenerationRequestResponseFormat as ResponseFormat
    from aimlapi_rest.models import ImageGenerationRequestSize as Size

__all__ = [
    "APIStatusError",
    "AuthenticationError",
    "Background",
    "Balance",
    "Budget",
    "BudgetExceededError",
    "ConnectionFailedError",
    "ContentPolicyError",
    "DeadlineExceededError",
    "DecodeError",
    "DownloadError",
    "GeneratedImage",
    "ImageClient",
    "ImageError",
    "ImageInput",
    "InsufficientCreditsError",
    "InvalidRequestError",
    "LogEntry",
    "LogPage",
    "Moderation",
    "NoImageError",
    "NotFoundError",
    "NotSavedError",
    "Observer",
    "OutcomeUnknownError",
    "OutputFormat",
    "ProxyTimeoutError",
    "Quality",
    "RateLimitError",
    "ResponseFormat",
    "RetryPolicy",
    "ServerError",
    "Size",
    "Spending",
    "Step",
    "Usage",
    "aiohttp_transport",
    "mask_from_box",
    "mask_from_luminance",
]

_HOMES = {
    "Balance": "account",
    "Budget": "dispatch.budget",
    "LogEntry": "account",
    "LogPage": "account",
    "ImageClient": "client",
    "GeneratedImage": "models",
    "ImageInput": "orders.image_input",
    "Observer": "events",
    "RetryPolicy": "dispatch.retry",
    "Spending": "spending",
    "Step": "events",
    "Usage": "spending",
    "aiohttp_transport": "transports",
    "mask_from_box": "orders.mask",
    "mask_from_luminance": "orders.mask",
}

# The values of the fields of a request, as types: of the generated models, and so of the schema.
_VALUES = ("Background", "Moderation", "OutputFormat", "Quality", "ResponseFormat", "Size")


if not TYPE_CHECKING:  # which would take any name for one of these

    def __getattr__(name: str) -> Any:
        """Load a public name when it is first used, so that `--help` need not load the HTTP client."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name in _VALUES:
            value = getattr(import_module("aimlapi_rest.models"), f"ImageGenerationRequest{name}")
        else:
            value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
