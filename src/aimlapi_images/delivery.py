"""An order's way from a request to an image."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import httpx

from aimlapi_images.auth import BearerAuth
from aimlapi_images.downloads import Downloader
from aimlapi_images.errors import (
    DecodeError,
    ImageError,
    InvalidRequestError,
    NotSavedError,
)
from aimlapi_images.exchange import exchange
from aimlapi_images.formats import read_format
from aimlapi_images.images import GeneratedImage
from aimlapi_images.orders import Order
from aimlapi_images.outcomes import Outcome, outcome_of
from aimlapi_images.progress import Progress
from aimlapi_images.responses import ImageAnswer, read_image_answer
from aimlapi_images.retries import RetryPolicy, decide
from aimlapi_images.spending import Spending
from aimlapi_images.throttle import Throttle

logger = logging.getLogger("aimlapi_images")


class Delivery:
    """Carries out orders, first come, first served; sends again what may be sent again.

    Args:
        http: The client for the API.
        auth: The key for it.
        downloader: Fetches images that come as a URL.
        throttle: Who may go when.
        policy: What is sent again.
        chance: Gives random numbers from 0 to 1.

    Attributes:
        spending: What all orders have cost so far.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        auth: BearerAuth,
        downloader: Downloader,
        throttle: Throttle,
        policy: RetryPolicy,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._http = http
        self._auth = auth
        self._downloader = downloader
        self._throttle = throttle
        self._policy = policy
        self._chance = chance
        self._targets: set[Path] = set()
        self.spending = Spending()

    async def deliver(self, order: Order, deadline: float | None = None) -> GeneratedImage:
        """Send the order until it is answered, fetch its image, and write it where the order says.

        Args:
            order: What is wanted.
            deadline: Seconds for all of it, waiting included, but for the writing.

        Raises:
            ImageError: Whatever went wrong; its `may_be_billed` says whether it may cost something.
        """
        with self._target_taken(order):
            progress = Progress()
            try:
                async with asyncio.timeout(deadline) as limit:
                    image = await self._image(order, progress)
            except TimeoutError as error:
                if not limit.expired():
                    raise
                raise progress.deadline_exceeded(order.id, deadline) from error
            return image if order.to is None else await _written(image, order)

    async def _image(self, order: Order, progress: Progress) -> GeneratedImage:
        started = time.monotonic()
        answer = await self._answer(order, progress)
        data = answer.data
        if data is None:
            assert answer.url is not None  # noqa: S101 - an answer has one or the other
            progress.enter("download", url=answer.url)
            data = await self._downloader.fetch(answer.url, order=order.id)
        seconds = time.monotonic() - started
        image = _checked_image(order, answer, data, attempts=progress.attempts, seconds=seconds)
        logger.debug("order %s: %s, %d bytes, %.1f s", order.id, image.format, len(image.data), image.seconds)
        return image

    async def _answer(self, order: Order, progress: Progress) -> ImageAnswer:
        ticket = self._throttle.ticket(order.id)
        failures = 0
        while True:
            progress.enter("queue")
            try:
                # Held while the API works, and neither during a backoff nor while the image is fetched.
                async with self._throttle.turn(ticket):
                    progress.enter("request")
                    answer = await self._attempt(order, attempt=progress.attempts)
                self.spending = self.spending.with_order(answer.usage)
                return answer
            except asyncio.CancelledError:
                if progress.phase == "request":
                    self.spending = self.spending.with_unknown_outcome()
                raise
            except ImageError as error:
                if progress.phase == "queue":
                    raise
                if error.may_be_billed:
                    self.spending = self.spending.with_unknown_outcome()
                progress.failed(error)
                failures += outcome_of(error) is not Outcome.LATER
                retry = decide(self._policy, error, failures, self._chance())
                logger.debug("order %s: attempt %d: %s: %s", order.id, progress.attempts, error, retry or "given up")
                if retry is None:
                    raise
            progress.enter("backoff")
            await asyncio.sleep(retry.wait)

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
        request = self._http.build_request(**order.request(attempt))
        # Not documented here, but harmless: a server that knows it runs one order once, however often it is sent.
        request.headers["Idempotency-Key"] = order.id
        logger.debug("order %s: attempt %d, POST %s", order.id, attempt, request.url)
        answer = await exchange(self._http, request, self._auth, order=order.id)
        return read_image_answer(answer, order=order.id)


def _checked_image(order: Order, answer: ImageAnswer, data: bytes, *, attempts: int, seconds: float) -> GeneratedImage:
    try:
        format_ = read_format(data)
    except ValueError as error:
        raise DecodeError(
            f"what came is not an image: {error}",
            data=data,
            url=answer.url,
            inference_id=answer.inference_id,
            order=order.id,
        ) from error
    return GeneratedImage(
        data=data,
        format=format_.name,
        media_type=format_.media_type,
        width=format_.width,
        height=format_.height,
        prompt=order.prompt,
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
