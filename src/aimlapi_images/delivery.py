"""An order's way from a request to an image."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import httpx

from aimlapi_images.auth import BearerAuth
from aimlapi_images.downloads import Downloader
from aimlapi_images.errors import DecodeError, InvalidRequestError, NotSavedError
from aimlapi_images.exchange import exchange
from aimlapi_images.formats import read_format
from aimlapi_images.images import GeneratedImage
from aimlapi_images.orders import Order
from aimlapi_images.responses import ImageAnswer, read_image_answer
from aimlapi_rest.api.images import generate_image

logger = logging.getLogger("aimlapi_images")


class Delivery:
    """Carries out orders: one attempt each, so many at a time, first come, first served.

    Args:
        http: The client for the API.
        auth: The key for it.
        downloader: Fetches images that come as a URL.
        max_concurrency: How many requests may be open at the API at once.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        auth: BearerAuth,
        downloader: Downloader,
        max_concurrency: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._auth = auth
        self._downloader = downloader
        self._slots = asyncio.Semaphore(max_concurrency)
        self._clock = clock
        self._targets: set[Path] = set()

    async def deliver(self, order: Order) -> GeneratedImage:
        """Send the order, fetch its image, and write it where the order says.

        Raises:
            ImageError: Whatever went wrong; the class says whether it may have been billed.
        """
        with self._target_taken(order):
            return await self._deliver(order)

    async def _deliver(self, order: Order) -> GeneratedImage:
        # Held while the API works, and not while the image is fetched: the API counts its own requests only.
        async with self._slots:
            started = self._clock()
            answer = await self._attempt(order, attempt=1)
        data = answer.data
        if data is None:
            assert answer.url is not None  # noqa: S101 - an answer has one or the other
            data = await self._downloader.fetch(answer.url, order=order.id)
        image = _image(order, answer, data, attempts=1, seconds=self._clock() - started)
        logger.debug("order %s: %s, %d bytes, %.1f s", order.id, image.format, len(image.data), image.seconds)
        return image if order.to is None else await _written(image, order)

    @contextmanager
    def _target_taken(self, order: Order) -> Iterator[None]:
        """Keep two orders from being paid for one file, of which the second could not be written."""
        target = order.target
        if target is None:
            yield
            return
        if target in self._targets:
            raise InvalidRequestError(f"another order of this client is to be written to {target}", order=order.id)
        self._targets.add(target)
        try:
            yield
        finally:
            self._targets.remove(target)

    async def _attempt(self, order: Order, *, attempt: int) -> ImageAnswer:
        # The generated module builds the request; its parser is left alone (see `responses`).
        parts = generate_image._get_kwargs(body=order.request, x_client_request_id=order.request_id(attempt))
        request = self._http.build_request(**parts)
        logger.debug("order %s: attempt %d, POST %s", order.id, attempt, request.url)
        answer = await exchange(self._http, request, self._auth, order=order.id)
        return read_image_answer(answer, order=order.id)


def _image(order: Order, answer: ImageAnswer, data: bytes, *, attempts: int, seconds: float) -> GeneratedImage:
    try:
        format_ = read_format(data)
    except ValueError as error:
        raise DecodeError(f"what came is not an image: {error}", data=data, order=order.id) from error
    return GeneratedImage(
        data=data,
        format=format_.name,
        media_type=format_.media_type,
        width=format_.width,
        height=format_.height,
        prompt=order.request.prompt,
        parameters=order.parameters,
        usage=answer.usage,
        order=order.id,
        attempts=attempts,
        seconds=seconds,
        url=answer.url,
        revised_prompt=answer.revised_prompt,
        inference_id=answer.inference_id,
    )


async def _written(image: GeneratedImage, order: Order) -> GeneratedImage:
    assert order.to is not None  # noqa: S101 - asked by the caller
    try:
        path = await image.save(order.to)
    except OSError as error:
        raise NotSavedError(
            f"the image is generated and paid for, but could not be written: {error.strerror}: {error.filename}. "
            "It is in this error's `image`",
            image=image,
            order=order.id,
        ) from error
    return attrs.evolve(image, path=path)
