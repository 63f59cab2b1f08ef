"""`ImageClient`: what an application holds, one method an endpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import httpx

from aimlapi_images.account_client import AccountClient
from aimlapi_images.api.account import Queries
from aimlapi_images.api.download import Downloader
from aimlapi_images.api.http_clients import Connections
from aimlapi_images.bodies import BodyGate
from aimlapi_images.config import DEFAULT_TIMEOUT, expect, expect_async, positive
from aimlapi_images.dispatch.budget import Budget, Ledger
from aimlapi_images.dispatch.log_lookup import LogWatch
from aimlapi_images.dispatch.pipeline import Delivery
from aimlapi_images.dispatch.retry import RetryPolicy
from aimlapi_images.dispatch.sending import Sender
from aimlapi_images.dispatch.throttle import Throttle
from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.events import Observer, Reporter
from aimlapi_images.models import GeneratedImage
from aimlapi_images.orders.edit import new_edit
from aimlapi_images.orders.generation import new_generation
from aimlapi_images.orders.image_input import ImageInput
from aimlapi_images.threads import Threads

if TYPE_CHECKING:  # a value that is gone from the schema must not keep the rest from loading
    from aimlapi_rest.models import (
        ImageEditRequestBackground,
        ImageEditRequestOutputFormat,
        ImageEditRequestQuality,
        ImageEditRequestResponseFormat,
        ImageEditRequestSize,
        ImageGenerationRequestBackground,
        ImageGenerationRequestModeration,
        ImageGenerationRequestOutputFormat,
        ImageGenerationRequestQuality,
        ImageGenerationRequestResponseFormat,
        ImageGenerationRequestSize,
    )

DEFAULT_MODEL: Final = "openai/gpt-image-1-5"
DEFAULT_RETRY: Final = RetryPolicy()


class ImageClient(AccountClient):
    """Generates images with AI/ML API.

    Use it as `async with ImageClient() as client`, or call `aclose()` when done. One client serves a whole
    application: give it any number of calls at once.

    Args:
        api_key: The API key; from `AIMLAPI_API_KEY` or `AIML_API_KEY` if `None`.
        base_url: The API's address, with or without `/v1` at its end; from `AIMLAPI_API_BASE` or
            `AIML_API_BASE`, or https://api.aimlapi.com, if `None`.
        max_concurrency: How many requests may be open at once; further calls wait for their turn.
        requests_per_minute: How many may start in a minute, evenly spread; any number if `None`. What the API
            admits is learned from its refusals in any case.
        timeout: Seconds, or an `httpx.Timeout`. One number bounds each wait for bytes; connecting is given
            10 s at the most. The default is 10 s to connect and 300 s to wait for an answer.
        deadline: Seconds for each order, its waiting, retries and download included; no limit if `None`.
        retry: What is sent again, and when. What may have been billed is not, by default.
        budget: How much all orders of this client may cost together; any amount if `None`.
        observer: An async function that is told each step of each order, and is waited for before the next one is
            taken: when it returns from `Generated`, the download begins.
        transport: What carries requests to the API: any `httpx.AsyncBaseTransport`, as the emulator's.
        download_transport: What carries downloads of image URLs; `transport` if `None`.
        headers: Sent with each request to the API, and not with downloads.

    Raises:
        InvalidRequestError: There is no key, or an argument cannot be right.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        max_concurrency: int = 16,
        requests_per_minute: float | None = None,
        timeout: float | httpx.Timeout = DEFAULT_TIMEOUT,
        deadline: float | None = None,
        retry: RetryPolicy = DEFAULT_RETRY,
        budget: Budget | None = None,
        observer: Observer | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        download_transport: httpx.AsyncBaseTransport | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if isinstance(max_concurrency, bool) or not isinstance(max_concurrency, int) or max_concurrency < 1:
            raise InvalidRequestError(f"max_concurrency is {max_concurrency!r}, and has to be a whole number from 1 up")
        self._deadline = positive("deadline", deadline)
        rate = positive("requests_per_minute", requests_per_minute)
        expect("retry", retry, RetryPolicy)
        expect("budget", budget, Budget | None)
        if observer is not None:
            expect_async("observer", observer)
        connections = Connections(
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            transport=transport,
            download_transport=download_transport,
            headers=headers,
        )
        http, auth, report = connections.api, connections.auth, Reporter(observer)
        queries, ledger = Queries(http, auth, retry), Ledger(budget)
        super().__init__(connections, queries, ledger)
        self._max_concurrency = max_concurrency
        self._threads = Threads()
        throttle = Throttle(retry, max_concurrency, rate, ledger)
        log = LogWatch(queries, retry.longest_log_wait)
        sender = Sender(http, auth, throttle, ledger, retry, log, report, BodyGate(), self._threads)
        downloader = Downloader(connections.downloads, connections.base_url, max_concurrency, retry, BodyGate())
        self._delivery = Delivery(sender, downloader, report)

    async def generate(
        self,
        prompt: str,
        *,
        model: str = DEFAULT_MODEL,
        size: ImageGenerationRequestSize | None = None,
        quality: ImageGenerationRequestQuality | None = None,
        background: ImageGenerationRequestBackground | None = None,
        moderation: ImageGenerationRequestModeration | None = None,
        output_format: ImageGenerationRequestOutputFormat | None = None,
        output_compression: int | None = None,
        response_format: ImageGenerationRequestResponseFormat | None = None,
        options: Mapping[str, Any] | None = None,
        to: str | os.PathLike[str] | None = None,
        deadline: float | None = None,
        order: str | None = None,
    ) -> GeneratedImage:
        """Generate one image. What is `None` is not sent, and left to the API.

        The limits are the schema's (`openapi/` in the source), and are checked before anything is sent.

        Args:
            prompt: What the image is to show, up to 32,000 characters.
            model: The model. One that the schema does not describe is sent unchecked.
            size: Width x height in pixels.
            quality: The more, the longer it takes and the more it costs.
            background: `transparent` needs the output format png or webp.
            moderation: How strict the content moderation is.
            output_format: The image's format. If `None`, the extension of `to` says it, if it is one of an image.
            output_compression: 0 to 100, for jpeg and webp.
            response_format: Whether the API sends the image itself or a URL to fetch it from. The result is
                the same; a URL is fetched at once.
            options: Further fields of the request, by name.
            to: Write the image to this path as well, whole or not at all; the extension follows the format.
                A path that cannot be written, or where a file is, is refused before anything is sent.
            deadline: Seconds for this order, in place of the client's.
            order: An id of yours for this order, up to 123 characters of `A-Z a-z 0-9 . _ : -`, by which the
                provider's log can be asked. A new one if `None`.

        Returns:
            The image, with its bytes, size, cost and ids.

        Raises:
            InvalidRequestError: The request cannot be right. Nothing was sent.
            BudgetExceededError: It does not fit into the budget. Nothing was sent.
            ConnectionFailedError: Nothing was sent, and retries did not help.
            APIStatusError: The API refused, or failed again and again; the class says how.
            OutcomeUnknownError: It was sent, and no answer came. It may have been billed.
            NoImageError: The API reported success without an image.
            DecodeError: What came is not an image.
            DeadlineExceededError: Its time was up. Images that had come by then are in the error's `images`.
            DownloadError: The image is paid for, and its URL could not be fetched.
            NotSavedError: The image is paid for and in the error, and could not be written to `to`.
        """
        await self._ready()
        parameters = {
            "size": size,
            "quality": quality,
            "background": background,
            "moderation": moderation,
            "output_format": output_format,
            "output_compression": output_compression,
            "response_format": response_format,
        }
        new = new_generation(prompt, model=model, parameters=parameters, options=options, to=to, order=order)
        seconds = positive("deadline", deadline)
        return await self._delivery.deliver(new, self._deadline if seconds is None else seconds)

    async def edit(
        self,
        prompt: str,
        *,
        image: ImageInput | Sequence[ImageInput],
        mask: ImageInput | None = None,
        model: str = DEFAULT_MODEL,
        size: ImageEditRequestSize | None = None,
        quality: ImageEditRequestQuality | None = None,
        background: ImageEditRequestBackground | None = None,
        output_format: ImageEditRequestOutputFormat | None = None,
        output_compression: int | None = None,
        response_format: ImageEditRequestResponseFormat | None = None,
        options: Mapping[str, Any] | None = None,
        to: str | os.PathLike[str] | None = None,
        deadline: float | None = None,
        order: str | None = None,
    ) -> GeneratedImage:
        """Edit an image, or make a new one of several. What is `None` is not sent, and left to the API.

        The images and the mask are read and checked before anything is sent; a file on the disk is streamed
        from there. Arguments that are not explained here are as for `generate`, and so are result and errors.

        Args:
            prompt: What the image is to become, up to 32,000 characters.
            image: A path, a file's bytes, a file opened with 'rb', a Pillow image or a `GeneratedImage`, or a
                list of 1 to 16 of these: png, jpeg or webp, each under 50 MB.
            mask: What of the first image is to be drawn anew: its fully transparent pixels say so. A PNG under
                4 MB, of the image's size. Needs Pillow. See `mask_from_box` and `mask_from_luminance`.

        Raises:
            InvalidRequestError: The request, an image or the mask cannot be right, or a file has changed since
                it was checked. Nothing was billed.
        """
        await self._ready()
        parameters = {
            "size": size,
            "quality": quality,
            "background": background,
            "output_format": output_format,
            "output_compression": output_compression,
            "response_format": response_format,
        }
        seconds = positive("deadline", deadline)
        new = await new_edit(
            prompt,
            image,
            mask=mask,
            model=model,
            parameters=parameters,
            options=options,
            to=to,
            order=order,
            threads=self._threads,
        )
        return await self._delivery.deliver(new, self._deadline if seconds is None else seconds)

    async def aclose(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        await super().aclose()
        self._threads.close()

    def __repr__(self) -> str:
        return f"ImageClient(base_url={str(self._connections.base_url)!r}, max_concurrency={self._max_concurrency})"
