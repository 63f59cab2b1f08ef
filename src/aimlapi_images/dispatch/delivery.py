"""From the API's answer to finished images: download what came as a URL, finish the files, report what is missing."""

from __future__ import annotations

import asyncio
import time

import attrs

from aimlapi_images.api.download import Downloader
from aimlapi_images.api.outcome import Failure, Outcome
from aimlapi_images.api.response_parser import ImageAnswer
from aimlapi_images.dispatch.retry import Retry
from aimlapi_images.errors import DecodeError, ImageError, NotSavedError
from aimlapi_images.media.image_finder import ImageEntry
from aimlapi_images.media.json_values import shorten_url
from aimlapi_images.media.sinks import ImageFile, Sink, SinkSet
from aimlapi_images.models import GeneratedImage, Usage
from aimlapi_images.orders.order import Order


@attrs.define
class Delivery:
    """The images of one answer."""

    order: Order
    answer: ImageAnswer
    attempts: int
    started: float  # by the monotonic clock, in seconds
    _downloads: dict[int, Sink | Failure] = attrs.field(factory=dict, init=False)

    @property
    def missing_urls(self) -> tuple[str, ...]:
        """The URLs of the images that have not been fetched."""
        return tuple(url for number, url in self._urls() if isinstance(self._downloads.get(number), Failure | None))

    def _urls(self) -> list[tuple[int, str]]:
        entries = enumerate(self.answer.entries, 1)
        return [(number, entry.url) for number, entry in entries if entry.payload is None and entry.url]

    async def fetch(self, downloader: Downloader, retry: Retry, sinks: SinkSet) -> None:
        """Fetch the images that came as URLs. If this is cancelled, complete ones are kept."""

        async def fetch(number: int, url: str) -> None:
            longest = b""

            async def attempt() -> Sink | Failure:
                nonlocal longest
                result = await downloader.fetch(url, sinks)
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

    async def finish(self, late: Failure | None = None) -> GeneratedImage:
        """Finish each image, and its file. Returns the first image, with the others in it.

        Raises:
            ImageError: `late` (the deadline passed), or the first problem with an image. The error has all images that
                are complete, and the URLs of those that are missing.
        """
        seconds = time.monotonic() - self.started
        images: list[GeneratedImage] = []
        failures: list[Failure] = [] if late is None else [late]
        for number, entry in enumerate(self.answer.entries, 1):
            result = await self._finish(number, entry, seconds)
            if isinstance(result, GeneratedImage):
                images.append(result)
            elif result is not None:
                failures.append(result)
        if failures:
            raise self._error(failures, images)
        # The cost is that of the whole order.
        others = tuple(attrs.evolve(image, usage=Usage()) for image in images[1:])
        return attrs.evolve(images[0], others=others) if others else images[0]

    async def _finish(self, number: int, entry: ImageEntry, seconds: float) -> GeneratedImage | Failure | None:
        """One image, why it is missing, or `None` if the deadline passed before it was fetched."""
        sink = entry.payload.sink if entry.payload is not None else self._downloads.get(number)
        if sink is None:
            return None
        if isinstance(sink, Failure):
            lost = {"usage": self.answer.usage, "inference_id": self.answer.inference_id}
            return attrs.evolve(sink, details={**sink.details, **lost})
        try:
            try:
                return self._image(entry, await sink.finish(number), seconds)
            except OSError as error:
                data = await sink.rescue()
                file = ImageFile(await sink.check(), len(data), data=data)
                return _not_saved(self._image(entry, file, seconds), error)
        except ValueError as error:
            return await _invalid(entry, sink, error, self.answer)

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

    def _image(self, entry: ImageEntry, file: ImageFile, seconds: float) -> GeneratedImage:
        return GeneratedImage(
            data=file.data,
            path=file.path and self.order.as_given(file.path),
            file_size=file.size,
            format=file.format.name,
            media_type=file.format.media_type,
            width=file.format.width,
            height=file.format.height,
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


async def usable(answer: ImageAnswer) -> ImageAnswer | Failure:
    """Check the images that came in the answer itself.

    Returns:
        The answer, without broken payloads that have a URL beside them; or why it brought no image at all.
    """
    entries: list[ImageEntry] = []
    failures: list[Failure] = []
    for entry in answer.entries:
        problem = await entry.payload.sink.problem() if entry.payload else None
        if entry.payload and problem and not entry.url:
            failures.append(await _invalid(entry, entry.payload.sink, problem, answer))
        entries.append(attrs.evolve(entry, payload=None) if problem and entry.url else entry)
    return failures[0] if len(failures) == len(entries) else attrs.evolve(answer, entries=tuple(entries))


async def _invalid(entry: ImageEntry, sink: Sink, error: ValueError, answer: ImageAnswer) -> Failure:
    """The failure that bytes mean which are not a whole image."""
    source = f" from {shorten_url(entry.url)}" if entry.payload is None and entry.url else ""
    problem = f"{entry.payload.problem}; " if entry.payload is not None and entry.payload.problem else ""
    reason = f"the payload{source} is not a valid image: {problem}{error}"
    return Failure(
        outcome=Outcome.UNKNOWN,
        error_type=DecodeError,
        message=f"{reason}. It is paid for, and in this error's `data`",
        details={"data": await sink.rescue(), "url": entry.url, "inference_id": answer.inference_id},
        cause=error,
    )


def _not_saved(image: GeneratedImage, error: OSError) -> Failure:
    return Failure(
        outcome=Outcome.UNKNOWN,
        error_type=NotSavedError,
        message=(
            f"the image is generated and paid for, but could not be written: {error.strerror}: {error.filename}. "
            "It is in this error's `image`"
        ),
        details={"image": image},
        cause=error,
    )
