"""Async SDK for AI/ML API's image model `openai/gpt-image-1-5`.

async with ImageClient() as client:
    image = await client.generate("A T-Rex relaxing on a beach", size="1536x1024")
    await image.save("trex")
"""

from typing import TYPE_CHECKING

from aimlapi_images.about import loader

if TYPE_CHECKING:
    from aimlapi_images.api.aiohttp_transport import aiohttp_transport
    from aimlapi_images.client import ImageClient
    from aimlapi_images.dispatch.budget import Budget
    from aimlapi_images.dispatch.retry import RetryPolicy
    from aimlapi_images.errors import (
        APIStatusError,
        AuthenticationError,
        BatchError,
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
    from aimlapi_images.events import Event, Observer, ThrottleState
    from aimlapi_images.models import Balance, GeneratedImage, LogEntry, LogPage, Spending, Usage
    from aimlapi_images.options import EditOptions, GenerateOptions
    from aimlapi_images.orders.image_input import ImageInput
    from aimlapi_images.orders.mask import mask_from_box, mask_from_luminance
    from aimlapi_rest.fields import Background, Moderation, OutputFormat, Quality, ResponseFormat, Size

__all__ = [
    "APIStatusError",
    "AuthenticationError",
    "Background",
    "Balance",
    "BatchError",
    "Budget",
    "BudgetExceededError",
    "ConnectionFailedError",
    "ContentPolicyError",
    "DeadlineExceededError",
    "DecodeError",
    "DownloadError",
    "EditOptions",
    "Event",
    "GenerateOptions",
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
    "ThrottleState",
    "Usage",
    "aiohttp_transport",
    "mask_from_box",
    "mask_from_luminance",
]

# Types of request fields, which are generated from the schema.
_VALUES = ("Background", "Moderation", "OutputFormat", "Quality", "ResponseFormat", "Size")

_HOMES = {
    **dict.fromkeys(__all__, ".errors"),
    **dict.fromkeys(("Balance", "GeneratedImage", "LogEntry", "LogPage", "Spending", "Usage"), ".models"),
    **dict.fromkeys(("Event", "Observer", "ThrottleState"), ".events"),
    **dict.fromkeys(("EditOptions", "GenerateOptions"), ".options"),
    **dict.fromkeys(("mask_from_box", "mask_from_luminance"), ".orders.mask"),
    **dict.fromkeys(_VALUES, "aimlapi_rest.fields"),
    "Budget": ".dispatch.budget",
    "ImageClient": ".client",
    "ImageInput": ".orders.image_input",
    "RetryPolicy": ".dispatch.retry",
    "aiohttp_transport": ".api.aiohttp_transport",
}

if not TYPE_CHECKING:  # a type checker would accept any name
    __getattr__ = loader(__name__, _HOMES)  # so that `--help` does not load the HTTP client


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
