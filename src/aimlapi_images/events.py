"""The steps of an order's way, told as they happen: to an observer, and in one line each to `logging`."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import ClassVar

import attrs

from aimlapi_images.errors import ImageError, InvalidRequestError
from aimlapi_images.models import GeneratedImage
from aimlapi_images.spending import Usage

logger = logging.getLogger("aimlapi_images")


@attrs.frozen
class Step:
    """Attributes:
    order: The id of the order that took it.
    """

    order: str
    level: ClassVar[int] = logging.INFO

    def __str__(self) -> str:
        return f"order {self.order}: {self._words()}"

    def _words(self) -> str:
        raise NotImplementedError


@attrs.frozen
class AttemptStarted(Step):
    """The order is about to be sent. From now on it may be billed.

    Attributes:
        attempt: Which attempt it is, counted from 1.
        request_id: Its client request id, by which the provider's log knows it.
    """

    attempt: int
    request_id: str
    level = logging.DEBUG

    def _words(self) -> str:
        return f"attempt {self.attempt} is sent as {self.request_id}"


@attrs.frozen
class Retrying(Step):
    """An attempt failed, and there will be another one.

    Attributes:
        attempt: Which attempt failed, counted from 1.
        error: How.
        wait: Seconds that the order waits before it queues again. After a 429 it waits with all others, in the
            queue, and this is 0.
    """

    attempt: int
    error: ImageError
    wait: float

    def _words(self) -> str:
        return f"attempt {self.attempt} failed and is tried again in {self.wait:.1f} s: {self.error.args[0]}"


@attrs.frozen
class Generated(Step):
    """The API has answered: the order is paid for. Its images may still have to be fetched.

    Attributes:
        attempt: Which attempt it was, counted from 1.
        urls: Where the images are, one for each that did not come in the answer itself.
        usage: What it cost.
        inference_id: The API's id of the request.
    """

    attempt: int
    urls: tuple[str, ...]
    usage: Usage
    inference_id: str | None

    def _words(self) -> str:
        cost = "cost unknown" if self.usage.usd_spent is None else f"${self.usage.usd_spent:.4f}"
        return f"generated in attempt {self.attempt}, {cost}" + "".join(f", {url}" for url in self.urls)


@attrs.frozen
class Delivered(Step):
    """The image is here, and written where the order says.

    Attributes:
        image: The image.
    """

    image: GeneratedImage

    def _words(self) -> str:
        image = self.image
        path = "" if image.path is None else f" as {image.path}"
        return f"delivered{path}: {image.format}, {image.file_size:,} bytes, {image.seconds:.1f} s"


@attrs.frozen
class Failed(Step):
    """The order ends without an image, and it is known whether that cost something: `error.may_be_billed`.

    Attributes:
        error: What the caller is told.
    """

    error: ImageError

    def _words(self) -> str:
        return f"failed: {self.error.args[0]}"


@attrs.frozen
class Unknown(Failed):
    """The order ends without an image, and it may have been billed."""

    level = logging.WARNING

    def _words(self) -> str:
        return f"outcome unknown: {self.error.args[0]}"


Observer = Callable[[Step], Awaitable[None]]


@attrs.frozen
class Reporter:
    """Tells steps, and comes back when the observer has done with them.

    Attributes:
        observer: Whom to tell, beside the log.
    """

    observer: Observer | None = None

    async def __call__(self, step: Step) -> None:
        """Tell one step. What the observer raises is raised."""
        logger.log(step.level, "%s", step)
        if self.observer is None:
            return
        told = self.observer(step)
        if not inspect.isawaitable(told):
            raise InvalidRequestError(f"the observer gave {told!r}, and has to be an async function: async def")
        await told
