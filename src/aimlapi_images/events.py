"""What an observer is told: one event for each step of an order, also logged in one line each."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import ClassVar, Literal

import attrs

from aimlapi_images.errors import ImageError, InvalidRequestError
from aimlapi_images.media.json_values import shorten_url
from aimlapi_images.models import GeneratedImage, Usage

logger: logging.Logger = logging.getLogger("aimlapi_images")
logger.addHandler(logging.NullHandler())  # nothing is printed unless the application configures logging


@attrs.frozen
class Event:
    """Base class of all events.

    Attributes:
        order: The order's id.
    """

    order: str
    level: ClassVar[int] = logging.INFO

    def __str__(self) -> str:
        return f"order {self.order}: {self._describe()}"

    def _describe(self) -> str:
        raise NotImplementedError


@attrs.frozen
class AttemptStarted(Event):
    """The order is about to be sent. From now on it may be billed.

    Attributes:
        attempt: Number of the attempt, from 1.
        request_id: Its client request id, under which the provider's log lists it.
    """

    attempt: int
    request_id: str
    level = logging.DEBUG

    def _describe(self) -> str:
        return f"sending attempt {self.attempt} as {self.request_id}"


@attrs.frozen
class Retrying(Event):
    """An attempt failed, and another one follows.

    Attributes:
        attempt: Number of the attempt that failed, from 1.
        error: Why it failed.
        wait: Seconds until the order queues again, in its old place. After a 429: what the API asks for, or 0.
    """

    attempt: int
    error: ImageError
    wait: float

    def _describe(self) -> str:
        return f"attempt {self.attempt} failed, retrying in {self.wait:.1f} s: {self.error.args[0]}"


@attrs.frozen
class Generated(Event):
    """The API answered with images: the order is paid for. Images may still have to be downloaded.

    Attributes:
        attempt: Number of the attempt, from 1.
        urls: URLs of the images that did not come in the answer itself.
        usage: The cost.
        inference_id: The API's id of the request.
    """

    attempt: int
    urls: tuple[str, ...]
    usage: Usage
    inference_id: str | None

    def _describe(self) -> str:
        cost = "cost unknown" if self.usage.usd_spent is None else f"${self.usage.usd_spent:.4f}"
        return ", ".join([f"generated in attempt {self.attempt}", cost, *map(shorten_url, self.urls)])


@attrs.frozen
class Delivered(Event):
    """The image has arrived, and is written to `to` if that was given.

    Attributes:
        image: The image.
    """

    image: GeneratedImage

    def _describe(self) -> str:
        image = self.image
        path = "" if image.path is None else f" to {image.path}"
        return f"delivered{path}: {image.format}, {image.file_size:,} bytes, {image.seconds:.1f} s"


@attrs.frozen
class Failed(Event):
    """The order ended without an image. `error.may_be_billed` says whether it cost anything.

    Attributes:
        error: The error that the caller gets.
    """

    error: ImageError

    def _describe(self) -> str:
        return f"failed: {self.error.args[0]}"


@attrs.frozen
class Unknown(Failed):
    """The order ended without an image, and may have been billed."""

    level = logging.WARNING

    def _describe(self) -> str:
        return f"outcome unknown: {self.error.args[0]}"


ThrottleMode = Literal["full speed", "slowed", "paused"]


@attrs.frozen
class ThrottleState:
    """What a client's throttle does at one moment.

    Attributes:
        mode: `full speed`, `slowed` to what the API admits, or `paused` until it admits anything.
        open: Number of attempts that the API works on.
        queued: Number of orders that wait for their turn.
        paused_for: Seconds until the next attempt, while paused.
        rate: Attempts per second that may start now; `None` at full speed.
        admitted_rate: Attempts per second that the API admitted before it refused, or `None` if it never did.
        tolerated: Share of attempts that the API seems to refuse at any rate, from 0 to 1.
    """

    mode: ThrottleMode
    open: int
    queued: int
    paused_for: float
    rate: float | None
    admitted_rate: float | None
    tolerated: float

    @property
    def reason(self) -> str:
        """Why, in words."""
        if self.mode == "paused":
            return f"the API refuses nearly everything; the next attempt is in {self.paused_for:.1f} s"
        if self.mode == "slowed":
            return f"the API admits about {self.admitted_rate or 0.0:.2g} attempts per second"
        return "slowing down does not make its refusals rarer" if self.tolerated > 0.01 else "nothing is refused"


@attrs.frozen
class ThrottleChanged(Event):
    """The client was paused or slowed down, or is back at full speed. One event for all of its orders.

    Attributes:
        order: The id of the order whose attempt led to it.
        state: What the throttle does now.
    """

    state: ThrottleState

    def _describe(self) -> str:
        at = "at " if self.state.mode == "full speed" else ""
        return f"the client is {at}{self.state.mode}: {self.state.reason}"


Observer = Callable[[Event], Awaitable[None]]


async def report(event: Event, observers: Iterable[Observer | None]) -> None:
    """Log one event, and tell it to one observer after the other. Their exceptions propagate."""
    logger.log(event.level, "%s", event)
    for observer in filter(None, observers):
        handled = observer(event)
        if not inspect.isawaitable(handled):
            raise InvalidRequestError(f"observer must be an async function (async def): it returned {handled!r}")
        await handled
