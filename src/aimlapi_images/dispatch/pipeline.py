"""An order's way from a request to an image."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from aimlapi_images.api.download import Downloader
from aimlapi_images.dispatch.collection import Collector
from aimlapi_images.dispatch.progress import Progress
from aimlapi_images.dispatch.sending import Sender
from aimlapi_images.errors import ImageError, InvalidRequestError, NotSavedError
from aimlapi_images.events import Delivered, Failed, Generated, Reporter, Step, Unknown
from aimlapi_images.media.sinks import SinkSet
from aimlapi_images.models import GeneratedImage
from aimlapi_images.orders.order import Order
from aimlapi_images.threads import Threads


@attrs.define
class Delivery:
    """Carries out orders, first come, first served.

    Attributes:
        sender: Gets the API's answer.
        downloader: Fetches images that it has URLs of.
        report: Is told the steps.
    """

    sender: Sender
    downloader: Downloader
    report: Reporter
    _threads: Threads = attrs.field(factory=Threads, init=False)
    _targets: set[Path] = attrs.field(factory=set, init=False)

    async def deliver(self, order: Order, deadline: float | None = None) -> GeneratedImage:
        """Send the order until it is answered, fetch its image, and write it where the order says.

        Args:
            order: What is wanted.
            deadline: Seconds for all of it, waiting included, but for the writing. What has come by then is written.

        Raises:
            ImageError: Whatever went wrong; its `may_be_billed` says whether it may cost something.
        """
        progress = Progress()
        try:
            with self._target_taken(order):
                async with SinkSet(order.to, self._threads) as sinks:
                    collector = await self._in_time(order, deadline, progress, sinks)
                    image = await collector.collect()
        except ImageError as error:
            error.order = error.order or order.id
            unknown = error.may_be_billed and not progress.answered
            await self._report_failure((Unknown if unknown else Failed)(order.id, error), error)
            raise
        await self._report_paid(Delivered(order.id, image), progress)
        if progress.not_reported is not None:
            raise NotSavedError(
                f"the image is generated and paid for, but the observer failed: {progress.not_reported!r}. "
                "The image is in this error's `image`",
                image=image,
                order=order.id,
            ) from progress.not_reported
        return image

    async def _in_time(self, order: Order, deadline: float | None, progress: Progress, sinks: SinkSet) -> Collector:
        """Get all that is needed from others. What remains is looking at it, and writing it.

        Raises:
            DeadlineExceededError: Nothing has come yet. If something has, the collector has this error.
        """
        started = time.monotonic()
        collector = None
        try:
            async with asyncio.timeout(deadline) as limit:
                answer = await self.sender.answer(order, progress, sinks)
                collector = Collector(order, answer, progress.attempts, started)
                await self._fetched(collector, progress, sinks)
        except TimeoutError as error:
            if not limit.expired():
                raise
            late = progress.deadline_exceeded(order.id, deadline, collector.unfetched if collector else ())
            if collector is None:
                raise late from error
            late.__cause__ = error
            collector.late = late
        return collector

    async def _fetched(self, collector: Collector, progress: Progress, sinks: SinkSet) -> None:
        """Tell that the order is paid for, then fetch what did not come in the answer itself."""
        answer, order = collector.answer, collector.order.id
        progress.answered = True
        progress.enter("observer")
        step = Generated(order, progress.attempts, collector.unfetched, answer.usage, answer.inference_id)
        await self._report_paid(step, progress)
        progress.enter("download")
        await collector.fetch(self.downloader, sinks)

    async def _report_paid(self, step: Step, progress: Progress) -> None:
        """Report what is paid for. An observer that fails must not cost the image."""
        try:
            await self.report(step)
        except Exception as error:
            progress.not_reported = progress.not_reported or error

    async def _report_failure(self, step: Step, error: ImageError) -> None:
        """Report the end. An observer that fails must not hide it."""
        try:
            await self.report(step)
        except Exception as problem:
            error.add_note(f"the observer failed, too: {problem!r}")

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
