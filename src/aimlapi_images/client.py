"""`ImageClient`: what an application holds, with one method for each endpoint."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, Unpack, cast

import httpx

from aimlapi_images import config
from aimlapi_images.api.account import Account
from aimlapi_images.api.download import Downloader
from aimlapi_images.api.exchange import BodySlots, Exchange
from aimlapi_images.api.http_clients import HTTPClients
from aimlapi_images.dispatch.budget import Budget, Ledger
from aimlapi_images.dispatch.log_lookup import LogLookup
from aimlapi_images.dispatch.pipeline import Pipeline
from aimlapi_images.dispatch.retry import Retry, RetryPolicy
from aimlapi_images.dispatch.throttle import Throttle
from aimlapi_images.events import Observer, ThrottleState
from aimlapi_images.models import Balance, GeneratedImage, LogPage, Spending
from aimlapi_images.orders import schema
from aimlapi_images.orders.edit import EditOrder
from aimlapi_images.orders.generation import GenerationOrder
from aimlapi_images.orders.image_input import ImageInput
from aimlapi_images.orders.order import new_fetch
from aimlapi_images.threads import Threads

if TYPE_CHECKING:  # a value that the schema no longer has must not keep the rest from loading
    from aimlapi_images.options import LogQuery
    from aimlapi_rest.fields import Background, Moderation, OutputFormat, Quality, ResponseFormat, Size
    from aimlapi_rest.models import GetLogsLogStatus

DEFAULT_MODEL: Final = "openai/gpt-image-1-5"
DEFAULT_RETRY: Final = RetryPolicy()


class ImageClient:
    """Generates images with AI/ML API.

    Use it as `async with ImageClient() as client`, or call `aclose()` when done. One client serves a whole
    application, with any number of calls at once.

    Args:
        api_key: The API key; from `AIMLAPI_API_KEY` or `AIML_API_KEY` if `None`.
        base_url: The API's address, with or without a trailing `/v1`; from `AIMLAPI_API_BASE` or
            `AIML_API_BASE`, or https://api.aimlapi.com, if `None`.
        max_concurrency: Maximum number of open requests; further calls wait for their turn.
        requests_per_minute: Maximum number of requests started per minute, evenly spread; any number if `None`.
            The rate that the API accepts is learned from its refusals in any case.
        timeout: Seconds, or an `httpx.Timeout`. A number limits each wait for bytes; connecting takes at most
            10 s. The default is 10 s to connect and 300 s to wait for an answer.
        keepalive: Seconds that an idle connection is kept. Less than the server keeps it, since a request on a
            connection that is just being closed has an unknown outcome.
        deadline: Seconds for each order, including waiting, retries and download; no limit if `None`.
        retry: What is sent again, and when. By default, nothing that may have been billed.
        budget: How much all orders of this client may cost together; any amount if `None`.
        observer: An async function that is called with each event of each order, and awaited before the order
            goes on: the download begins when it returns from `Generated`.
        transport: Carries requests to the API: any `httpx.AsyncBaseTransport`, such as the emulator's. The default
            uses the proxies of the environment. As in httpx, `NO_PROXY` lists hosts and domains, not `10.0.0.0/8`.
        download_transport: Carries downloads of image URLs; `transport` if `None`.
        headers: Sent with every request to the API, but not with downloads.

    Raises:
        InvalidRequestError: There is no key, or an argument or environment variable is invalid.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        max_concurrency: int = 16,
        requests_per_minute: float | None = None,
        timeout: float | httpx.Timeout = config.DEFAULT_TIMEOUT,
        keepalive: float = config.KEEPALIVE_SECONDS,
        deadline: float | None = None,
        retry: RetryPolicy = DEFAULT_RETRY,
        budget: Budget | None = None,
        observer: Observer | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        download_transport: httpx.AsyncBaseTransport | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        config.whole_number("max_concurrency", max_concurrency)
        config.not_negative("keepalive", keepalive)
        config.instance_of(RetryPolicy)("retry", retry)
        config.optional(config.positive)("requests_per_minute", requests_per_minute)
        config.optional(config.positive)("deadline", deadline)
        config.optional(config.instance_of(Budget))("budget", budget)
        config.optional(config.async_function)("observer", observer)
        config.optional(config.instance_of(httpx.AsyncBaseTransport))("transport", transport)
        config.optional(config.instance_of(httpx.AsyncBaseTransport))("download_transport", download_transport)
        self._default_deadline = deadline
        self._http = HTTPClients(api_key, base_url, timeout, keepalive, transport, download_transport, headers)
        schema.load()
        self._threads = Threads()
        self._retry = Retry(retry)
        self._ledger = Ledger(budget)
        bodies = BodySlots(self._threads)
        exchange = Exchange(self._http.api, self._http.auth, self._threads, bodies)
        self._account = Account(exchange)
        self._pipeline = Pipeline(
            exchange=exchange,
            downloader=Downloader(self._http.downloads, self._http.base_url, max_concurrency, bodies),
            throttle=Throttle(retry, max_concurrency, requests_per_minute, self._ledger),
            retry=self._retry,
            log=LogLookup(self._account, self._retry),
            observer=observer,
        )

    async def generate(
        self,
        prompt: str,
        *,
        model: str = DEFAULT_MODEL,
        size: Size | str | None = None,
        quality: Quality | str | None = None,
        background: Background | str | None = None,
        moderation: Moderation | str | None = None,
        output_format: OutputFormat | str | None = None,
        output_compression: int | None = None,
        response_format: ResponseFormat | str | None = None,
        options: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        to: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        deadline: float | None = None,
        order: str | None = None,
    ) -> GeneratedImage:
        """Generate one image. Arguments that are `None` are not sent: the API's defaults apply.

        Limits come from the published schema (`openapi/` in the source), and are checked before anything is sent.

        Args:
            prompt: What the image shows.
            model: The model. Requests for a model that the schema does not describe are sent unchecked.
            size: Width x height in pixels.
            quality: Higher quality takes longer and costs more.
            background: `transparent` needs the output format png or webp.
            moderation: How strict the content moderation is.
            output_format: The image's format. If `None`, the extension of `to` decides, if it is an image's.
            output_compression: In percent, for jpeg and webp.
            response_format: Whether the API sends the image itself or a URL. The result is the same, as a URL is
                fetched at once.
            options: Further fields of the model's request, by name. A field that the model does not have is refused.
            extra_body: Fields to send unchecked, such as one that the API has and the schema lacks.
            to: Write the image to this file, whole or not at all; the extension follows the format. A path that
                cannot be written, or that exists, is refused before anything is sent.
            overwrite: Replace the file if it exists.
            deadline: Seconds for this order, in place of the client's.
            order: Your id for this order, under which the provider's log lists it: up to 114 characters of
                `A-Z a-z 0-9 . _ : -`. A new one if `None`.

        Returns:
            The image, with its bytes, size in pixels, cost and ids.

        Raises:
            InvalidRequestError: The request is invalid. Nothing was sent.
            BudgetExceededError: It would exceed the budget. Nothing was sent.
            ConnectionFailedError: Nothing was sent, and retries did not help.
            APIStatusError: The API refused, or failed repeatedly; the class says how.
            OutcomeUnknownError: It was sent, but no answer came. It may have been billed.
            NoImageError: The API reported success without an image.
            DecodeError: The payload is not a valid image.
            DeadlineExceededError: The deadline passed. Images that had arrived are in the error's `images`.
            DownloadError: The image is paid for, but its URL could not be fetched.
            NotSavedError: The image is paid for, but could not be written to `to`. It is in the error.
        """
        self._http.check_usable()
        parameters = {
            "size": size,
            "quality": quality,
            "background": background,
            "moderation": moderation,
            "output_format": output_format,
            "output_compression": output_compression,
            "response_format": response_format,
        }
        new = GenerationOrder.new(
            prompt,
            model=model,
            parameters=parameters,
            options=options,
            extra_body=extra_body,
            to=to,
            overwrite=overwrite,
            order=order,
        )
        return cast(GeneratedImage, await self._pipeline.run(new, self._deadline(deadline)))

    async def edit(
        self,
        prompt: str,
        *,
        image: ImageInput | Sequence[ImageInput],
        mask: ImageInput | None = None,
        model: str = DEFAULT_MODEL,
        size: Size | str | None = None,
        quality: Quality | str | None = None,
        background: Background | str | None = None,
        output_format: OutputFormat | str | None = None,
        output_compression: int | None = None,
        response_format: ResponseFormat | str | None = None,
        options: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        to: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        deadline: float | None = None,
        order: str | None = None,
    ) -> GeneratedImage:
        """Edit an image, or compose a new one from several.

        Images and mask are read and checked before anything is sent. Files are streamed from disk. Other arguments,
        the result and the errors are those of `generate`.

        Args:
            prompt: What the image becomes.
            image: A path, bytes, a file opened with 'rb', a Pillow image or a `GeneratedImage`, or a list of 1 to
                16 of them: png, jpeg or webp, each under 50 MB.
            mask: A PNG under 4 MB, of the first image's size, whose fully transparent pixels mark what is
                repainted. Needs Pillow. See `mask_from_box` and `mask_from_luminance`.

        Raises:
            InvalidRequestError: The request, an image or the mask is invalid, or a file changed after it was
                checked. Nothing was billed.
        """
        self._http.check_usable()
        parameters = {
            "size": size,
            "quality": quality,
            "background": background,
            "output_format": output_format,
            "output_compression": output_compression,
            "response_format": response_format,
        }
        new = EditOrder.new(
            prompt,
            model=model,
            parameters=parameters,
            options=options,
            extra_body=extra_body,
            to=to,
            overwrite=overwrite,
            order=order,
        )
        new = await new.with_images(image, mask, self._threads)
        return cast(GeneratedImage, await self._pipeline.run(new, self._deadline(deadline)))

    async def fetch(
        self,
        url: str,
        *,
        to: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        deadline: float | None = None,
    ) -> GeneratedImage:
        """Fetch an image that is paid for, such as the `url` of a `DownloadError`. Nothing is generated or billed.

        The URL is checked as every image URL is: no key is sent, and no private address is reached. Other arguments
        are those of `generate`.

        Raises:
            InvalidRequestError: `url` is not text, or `to` cannot be written.
            DeadlineExceededError: The deadline passed.
            DownloadError: The URL could not be fetched; it may have expired.
            DecodeError: What it returned is not an image.
            NotSavedError: The image could not be written to `to`. It is in the error.
        """
        self._http.check_usable()
        new = new_fetch(url, to=to, overwrite=overwrite)
        return await self._pipeline.fetch(url, new, self._deadline(deadline))

    @property
    def spending(self) -> Spending:
        """What this client's orders have cost so far, as far as the API said."""
        return self._ledger.spending

    @property
    def throttle(self) -> ThrottleState:
        """What the client's throttle does now: how much is open and queued, and whether and why it is slow."""
        return self._pipeline.throttle.state()

    async def balance(self) -> Balance:
        """Read what is left on the account.

        Raises:
            APIStatusError: The API refused, or failed repeatedly; the class says how.
            ConnectionFailedError: No answer came, and retries did not help.
        """
        self._http.check_usable()
        return await self._retry.result(self._account.balance)

    async def logs(
        self,
        *,
        period: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        status: GetLogsLogStatus | Sequence[GetLogsLogStatus] | None = None,
        model: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> LogPage:
        """Read one page of the provider's log. It lists each request some time after the request ended.

        Args:
            period: A named time span, in place of `start` and `end`.
            start: Start of a time span of at most 92 days. Local time, if it has no zone.
            end: Its end; now if `None`.
            status: Only requests that ended so: `succeeded`, `failed`, or both.
            model: Only requests for this model.
            limit: Maximum number of entries.
            offset: Number of entries to skip.

        Raises:
            InvalidRequestError: An argument is invalid.
            APIStatusError: The API refused, or failed repeatedly; the class says how. It allows 200 such requests
                a minute.
            ConnectionFailedError: No answer came, and retries did not help.
        """
        self._http.check_usable()
        query = {"period": period, "start": start, "end": end, "status": status, "model": model}
        return await self._retry.result(partial(self._account.logs, **query, limit=limit, offset=offset))

    async def log_pages(self, **query: Unpack[LogQuery]) -> AsyncIterator[LogPage]:
        """Read all pages of the provider's log: `async for page in client.log_pages(start=...)`.

        Arguments and errors are those of `logs`, without `offset`; `limit` is the size of a page. If requests end
        meanwhile, an entry may come twice.
        """
        read, more = 0, True
        while more:
            page = await self.logs(**query, offset=read)
            yield page
            read += len(page.entries)
            more = page.has_more and bool(page.entries)

    def _deadline(self, deadline: float | None) -> float | None:
        config.optional(config.positive)("deadline", deadline)
        return self._default_deadline if deadline is None else deadline

    async def aclose(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        await self._http.aclose()
        self._threads.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        url, at_once = str(self._http.base_url), self._pipeline.throttle.max_concurrency
        return f"ImageClient(base_url={url!r}, max_concurrency={at_once})"
