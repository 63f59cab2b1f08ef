"""One order on its way: how far it has come, and from the API's answer to finished images."""

import asyncio
import secrets
import time
from pathlib import Path
from typing import Final

import attrs

from aimlapi_images.api.download import Downloader
from aimlapi_images.api.outcome import Failure, Outcome
from aimlapi_images.api.response_parser import ImageAnswer
from aimlapi_images.dispatch.retry import Retry
from aimlapi_images.dispatch.throttle import Ticket
from aimlapi_images.errors import DeadlineExceededError, DecodeError, ImageError, NotSavedError
from aimlapi_images.events import Observer
from aimlapi_images.media.files import free_number, write_whole
from aimlapi_images.media.formats import ImageFormat, Payload, with_extension
from aimlapi_images.media.image_finder import ImageEntry
from aimlapi_images.media.json_values import shorten_url
from aimlapi_images.models import GeneratedImage, Usage
from aimlapi_images.orders.order import Order
from aimlapi_images.threads import Threads

_PHASES: Final = {
    "queue": "waiting for its turn",
    "request": "waiting for the API's answer",
    "backoff": "waiting before another attempt",
    "log": "waiting for the provider's log",
    "observer": "waiting for the observer",
    "download": "downloading",
}


@attrs.define
class Delivery:
    """How far an order has come, and the images of its answer."""

    order: Order
    observers: tuple[Observer | None, ...] = ()
    ticket: Ticket = (0, None)  # its place in the queue
    phase: str = "queue"  # as in `DeadlineExceededError`
    answer: ImageAnswer = attrs.field(factory=ImageAnswer)  # once it has images, the order is paid for
    started: float = attrs.field(factory=time.monotonic)  # in seconds
    # So that an order id that is used again, in this run or another, is never settled by an earlier attempt's log row.
    nonce: str = attrs.field(factory=lambda: secrets.token_hex(4))
    attempts: int = 0  # how many times it was sent
    last_failure: Failure | None = None
    may_be_billed: bool = False  # because of an attempt that failed
    observer_error: Exception | None = None  # why the observer could not be told about a paid image
    _downloads: dict[int, Payload | Failure] = attrs.field(factory=dict, init=False)

    @property
    def paid(self) -> bool:
        return bool(self.answer.entries)

    @property
    def missing_urls(self) -> tuple[str, ...]:
        """The URLs of the images that have not been fetched."""
        return tuple(url for number, url in self._urls() if not isinstance(self._downloads.get(number), Payload))

    def _urls(self) -> list[tuple[int, str]]:
        entries = enumerate(self.answer.entries, 1)
        return [(number, entry.url) for number, entry in entries if entry.payload is None and entry.url]

    def deadline_failure(self, deadline: float | None, cause: BaseException) -> Failure:
        """The failure that says where the order was when its deadline, in seconds, passed."""
        urls = self.missing_urls
        may_be_billed = self.paid or self.may_be_billed or self.phase in ("request", "log")
        billed = "it is billed" if self.paid else "it may be billed" if may_be_billed else "it is not billed"
        where = f", and its image URLs are {', '.join(map(shorten_url, urls))}" if urls else ""
        last = f"; the last attempt ended with: {self.last_failure.error()}" if self.last_failure else ""
        attempts = f"{self.attempts} attempt{'' if self.attempts == 1 else 's'}"
        message = f"the deadline of {deadline} s passed while {_PHASES[self.phase]}, after {attempts}; "
        message += f"{billed}{where}{last}"
        outcome = Outcome.UNKNOWN if may_be_billed else Outcome.REFUSED
        details = {"phase": self.phase, "urls": urls}
        return Failure(outcome, DeadlineExceededError, message, details=details, cause=cause)

    async def fetch(self, downloader: Downloader, retry: Retry) -> None:
        """Fetch the images that came as URLs. If this is cancelled, complete ones are kept."""

        async def fetch(number: int, url: str) -> None:
            longest = b""

            async def attempt() -> Payload | Failure:
                nonlocal longest
                result = await downloader.fetch(url, to_disk=self.order.to is not None)
                if isinstance(result, Failure):
                    longest = max(longest, result.details["data"], key=len)
                return result

            result = await retry.run(attempt)
            if isinstance(result, Failure):
                result = attrs.evolve(result, details={**result.details, "data": longest})
            self._downloads[number] = result

        async with asyncio.TaskGroup() as tasks:
            for number, url in self._urls():
                tasks.create_task(fetch(number, url))

    async def finish(self, threads: Threads, late: Failure | None = None) -> GeneratedImage:
        """Write each image, if the order has a path. Returns the first image, with the others in it.

        The error is `late` (the deadline passed), or the first problem with an image. It has all images that are
        complete, and the URLs of those that are missing.
        """
        seconds = time.monotonic() - self.started
        images: list[GeneratedImage] = []
        failures: list[Failure] = [] if late is None else [late]
        for number, entry in enumerate(self.answer.entries, 1):
            result = await self._finish(number, entry, seconds, threads)
            if isinstance(result, GeneratedImage):
                images.append(result)
            elif result is not None:
                failures.append(result)
        if failures:
            raise self._error(failures, images)
        self.answer, self._downloads = ImageAnswer(), {}  # not to hold their bytes while observers are told
        # The cost is that of the whole order.
        others = tuple(attrs.evolve(image, usage=Usage()) for image in images[1:])
        return attrs.evolve(images[0], others=others) if others else images[0]

    async def _finish(
        self, number: int, entry: ImageEntry, seconds: float, threads: Threads
    ) -> GeneratedImage | Failure | None:
        """One image, why it is missing, or `None` if the deadline passed before it was fetched."""
        payload = entry.payload or self._downloads.get(number)
        if payload is None:
            return None
        if isinstance(payload, Failure):
            lost = {"usage": self.answer.usage, "inference_id": self.answer.inference_id}
            return attrs.evolve(payload, details={**payload.details, **lost})
        if payload.format is None:
            return _invalid(entry, payload, self.answer)
        image = self._image(entry, payload.format, payload.data, seconds)
        if self.order.to is None:
            return image
        try:
            path = await threads.write(self._write, self.order.to, number, payload.format, payload.data)
        except OSError as error:
            reason = f"{error.strerror}: {error.filename or self.order.to}. It is in this error's `image`"
            message = f"the image is generated and paid for, but could not be written: {reason}"
            return Failure(Outcome.UNKNOWN, NotSavedError, message, details={"image": image}, cause=error)
        return attrs.evolve(image, data=None, path=self.order.as_given(path))

    def _write(self, to: Path, number: int, format_: ImageFormat, data: bytes) -> Path:
        path = Path(with_extension(free_number(to, number), format_.name))
        write_whole(path, data, overwrite=self.order.overwrite)
        return path

    def _error(self, failures: list[Failure], images: list[GeneratedImage]) -> ImageError:
        """The error of the first failure, with everything else that the answer brought."""
        first, urls = failures[0], tuple(failures[0].details.get("urls", ()))
        unsaved = [each.details["image"] for each in failures[1:] if "image" in each.details]
        more = tuple(url for url in self.missing_urls if url not in urls)
        complete = (*images, *unsaved)
        note = f"; also missing: {', '.join(map(shorten_url, more))}" if more else ""
        if complete:
            paths = [str(image.path) for image in complete if image.path is not None]
            written = f", written to {', '.join(paths)}" if paths else ""
            note += f"; complete images are in this error's `images`{written}"
        return first.error(order=self.order.id, images=complete, urls=urls + more, note=note)

    def _image(self, entry: ImageEntry, format_: ImageFormat, data: bytes, seconds: float) -> GeneratedImage:
        return GeneratedImage(
            data=data,
            file_size=len(data),
            format=format_.name,
            media_type=format_.media_type,
            width=format_.width,
            height=format_.height,
            prompt=self.order.prompt,
            parameters=self.order.parameters,
            usage=self.answer.usage,
            order=self.order.id,
            attempts=self.attempts,
            seconds=seconds,
            url=entry.url,
            revised_prompt=entry.revised_prompt,
            inference_id=self.answer.inference_id,
        )


def usable(answer: ImageAnswer) -> ImageAnswer | Failure:
    """The answer without broken payloads that have a URL beside them; or why it brought no image at all."""
    entries = tuple(
        attrs.evolve(each, payload=None) if each.url and each.payload and each.payload.error else each
        for each in answer.entries
    )
    broken = [_invalid(each, each.payload, answer) for each in entries if each.payload and each.payload.error]
    return broken[0] if len(broken) == len(entries) else attrs.evolve(answer, entries=entries)


def _invalid(entry: ImageEntry, payload: Payload, answer: ImageAnswer) -> Failure:
    """The failure that bytes mean which are not a whole image."""
    source = f" from {shorten_url(entry.url)}" if entry.payload is None and entry.url else ""
    problem = f"{payload.problem}; " if payload.problem else ""
    reason = f"the payload{source} is not a valid image: {problem}{payload.error}"
    message = f"{reason}. It is paid for, and in this error's `data`"
    details = {"data": payload.data, "url": entry.url, "inference_id": answer.inference_id}
    return Failure(Outcome.UNKNOWN, DecodeError, message, details=details, cause=payload.error)
