"""One order from start to finish.

1. `orders` builds and validates the request; nothing is sent yet
2. wait for a turn: slots, rate, shared pause after a 429, budget     `Throttle.turn`
3. send one attempt, read its answer and decode the images in it      `Pipeline._exchange`
4. classify it: delivered, or one of five kinds of failure            `Outcome`
5. retry steps 2 to 4, or stop with exactly one error                 `Retry.run`
6. fetch the URL, if the API sent one, without the key                `Delivery.fetch`
7. write the file, build the `GeneratedImage`                         `Delivery.finish`

In step 3, `cut_images` makes a `Payload` of each base64, which holds the image's bytes; step 6 returns such bytes.
Step 7 checks that the image is complete, and writes it: to a temporary file first, which then gets the image's name.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import cast

import attrs

from aimlapi_images import events
from aimlapi_images.api.download import Downloader
from aimlapi_images.api.exchange import Exchange
from aimlapi_images.api.outcome import Failure, Outcome
from aimlapi_images.api.response_parser import ImageAnswer, read_image_answer
from aimlapi_images.dispatch.delivery import Delivery, usable
from aimlapi_images.dispatch.log_lookup import LogLookup
from aimlapi_images.dispatch.retry import Retry
from aimlapi_images.dispatch.throttle import Throttle
from aimlapi_images.errors import ImageError, InvalidRequestError, NotSavedError
from aimlapi_images.media.image_finder import ImageEntry
from aimlapi_images.models import GeneratedImage
from aimlapi_images.orders.order import Order, images_expected


@attrs.define
class Pipeline:
    """Carries out orders, first come, first served."""

    exchange: Exchange
    downloader: Downloader
    throttle: Throttle
    retry: Retry
    log: LogLookup
    observer: events.Observer | None
    _targets: set[Path | None] = attrs.field(factory=set, init=False)

    async def run(
        self,
        order: Order,
        deadline: float | None = None,
        observer: events.Observer | None = None,
        *,
        fetch: bool = True,
    ) -> GeneratedImage | None:
        """Send a valid order until it is answered, fetch its images, and write them to `order.to`.

        The deadline is in seconds, for steps 2 to 6: images that have arrived by then are still written. The observer
        is told of this order's events before the client's own one is. Without `fetch`, step 6 is left out: for an
        image that came as a URL, which `Generated` tells, the result is `None`.
        """
        delivery = Delivery(order, (observer, self.observer), self.throttle.ticket(order.kind))
        try:
            with self._reserved(order):
                failure = await self._until_fetched(delivery, deadline, fetch=fetch)
                if not delivery.paid:
                    failure = cast(Failure, failure)
                    # An earlier attempt may have been billed, too.
                    billed = failure.may_be_billed or delivery.may_be_billed
                    raise failure.error(order=order.id, may_be_billed=billed)
                if not fetch and failure is None and delivery.missing_urls:
                    if delivery.observer_error is not None:
                        raise delivery.observer_error
                    return None
                image = await delivery.finish(self.exchange.threads, failure)
        except ImageError as error:
            event = events.Unknown if error.may_be_billed and not delivery.paid else events.Failed
            await self._report(event(order.id, error), delivery)
            if delivery.observer_error not in (None, error):
                error.add_note(f"the observer failed as well: {delivery.observer_error!r}")
            raise
        await self._report(events.Delivered(order.id, image), delivery)
        if delivery.observer_error is not None:
            raise NotSavedError(
                f"the image is generated and paid for, but the observer failed: {delivery.observer_error!r}. "
                "The image is in this error's `image`",
                image=image,
                order=order.id,
            ) from delivery.observer_error
        return image

    async def fetch(self, url: str, order: Order, deadline: float | None = None) -> GeneratedImage:
        """Steps 6 and 7 alone, for an image that is paid for."""
        delivery = Delivery(order, phase="download", answer=ImageAnswer(entries=(ImageEntry(url=url),)))
        failure = None
        with self._reserved(order):
            try:
                async with asyncio.timeout(deadline):
                    await delivery.fetch(self.downloader, self.retry)
            except TimeoutError as error:
                failure = delivery.deadline_failure(deadline, error)
            return await delivery.finish(self.exchange.threads, failure)

    async def _until_fetched(self, delivery: Delivery, deadline: float | None, *, fetch: bool) -> Failure | None:
        """Steps 2 to 6, within the deadline. Returns why the order stopped, if it did."""
        attempt, before_wait = partial(self._attempt, delivery), partial(self._report_retry, delivery)
        try:
            async with asyncio.timeout(deadline) as limit:
                result = await self.retry.run(attempt, throttled=True, before_wait=before_wait)
                if isinstance(result, Failure):
                    return result
                delivery.phase = "download"
                if fetch:
                    await delivery.fetch(self.downloader, self.retry)
        except TimeoutError as error:
            if not limit.expired():
                raise
            return delivery.deadline_failure(deadline, error)
        return None

    async def _attempt(self, delivery: Delivery) -> ImageAnswer | Failure:
        """Steps 2 to 4: wait for a turn, send the order once, and classify the result."""
        order, result = delivery.order.id, await self._in_turn(delivery)
        if isinstance(result, ImageAnswer):
            urls = delivery.missing_urls
            event = events.Generated(order, delivery.attempts, urls, result.usage, result.inference_id)
            await self._report(event, delivery)
        if (state := self.throttle.change()) is not None:
            await self._report(events.ThrottleChanged(order, state), delivery)
        return result

    async def _in_turn(self, delivery: Delivery) -> ImageAnswer | Failure:
        """The same, before changes of the throttle are reported."""
        order, delivery.phase = delivery.order, "queue"
        # The slot is held while the API works, but neither during a backoff nor during downloads.
        async with self.throttle.turn(delivery.ticket) as turn:
            if turn.refusal is not None:
                return turn.refusal
            delivery.attempts += 1
            request_id, sent_at = f"{order.id}.{delivery.nonce}.{delivery.attempts}", datetime.now(UTC)
            # Awaited: the state of a batch has it before it can be billed.
            await events.report(events.AttemptStarted(order.id, delivery.attempts, request_id), delivery.observers)
            delivery.phase = "request"
            try:
                turn.result = result = await self._exchange(order, request_id)
            except BaseException:  # cancelled, or the deadline passed
                events.logger.warning(
                    "order %s: stopped while attempt %s was open: it may be billed", order.id, request_id
                )
                self.throttle.ledger.charge_unknown(order.kind)
                raise
            if not isinstance(result, Failure):
                self.throttle.ledger.charge(order.kind, result.usage)
                delivery.phase, delivery.answer = "observer", result
                return result
            if result.may_be_billed:
                assumed = self.throttle.ledger.charge_unknown(order.kind)
        if result.may_be_billed and self.retry.policy.retry_unknown == "if-unbilled":
            delivery.phase = "log"
            result = await self._settle(order, request_id, sent_at, assumed, result)
        delivery.last_failure = result
        delivery.may_be_billed = delivery.may_be_billed or result.may_be_billed
        return result

    async def _exchange(self, order: Order, request_id: str) -> ImageAnswer | Failure:
        """Step 3: send one attempt."""
        request = self.exchange.http.build_request(**order.request(request_id))
        # Not documented by this API, but harmless: a server that supports it runs an order once.
        request.headers["Idempotency-Key"] = order.id
        answer = await self.exchange(request, images_expected(order.fields), to_disk=order.to is not None)
        result = answer if isinstance(answer, Failure) else read_image_answer(answer)
        return result if isinstance(result, Failure) else usable(result)

    async def _settle(
        self, order: Order, request_id: str, sent_at: datetime, assumed: float, failure: Failure
    ) -> Failure:
        """Ask the provider's log how an attempt ended, and say so in the failure. `assumed` is its cost until then."""
        entry = await self.log.find(request_id, sent_at)
        if isinstance(entry, Failure):
            return attrs.evolve(failure, note=f"{failure.note}. The provider's log could not be read: {entry.error()}")
        if entry is None:
            return attrs.evolve(failure, note=f"{failure.note}. The provider's log does not list it yet")
        billed = entry.status != "failed"
        self.throttle.ledger.settle(order.kind, assumed, entry.usage if billed else None)
        said = "it succeeded" if billed else "it failed and cost nothing"
        return attrs.evolve(
            failure,
            outcome=Outcome.UNKNOWN if billed else Outcome.FAILED,
            details={**failure.details, "log": entry, "may_be_billed": billed},
            note=f"{failure.note}. The provider's log says that {said}",
        )

    async def _report_retry(self, delivery: Delivery, failure: Failure, wait: float) -> None:
        order = delivery.order.id
        event = events.Retrying(order, delivery.attempts, failure.error(order=order), wait)
        await events.report(event, delivery.observers)
        delivery.phase = "backoff"

    async def _report(self, event: events.Event, delivery: Delivery) -> None:
        """Report what is paid for, or how the order ended. A failing observer must not hide it, nor lose the image."""
        try:
            await events.report(event, delivery.observers)
        except Exception as error:
            delivery.observer_error = delivery.observer_error or error

    @contextmanager
    def _reserved(self, order: Order) -> Iterator[None]:
        """Refuse a second order for the same file: it would be paid for, and could not be written."""
        targets = {order.target} - {None}
        if targets & self._targets:
            raise InvalidRequestError(f"another order of this client writes to {order.target}", order=order.id)
        self._targets |= targets
        try:
            yield
        finally:
            self._targets -= targets
