"""From the API's answer to finished images: download what came as a URL, write the files, report what is missing."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import attrs

from aimlapi_images.api.download import Downloader
from aimlapi_images.api.outcome import Failure, Outcome
from aimlapi_images.api.response_parser import ImageAnswer
from aimlapi_images.dispatch.retry import Retry
from aimlapi_images.errors import DecodeError, ImageError, NotSavedError
from aimlapi_images.media.files import free_number, write_whole
from aimlapi_images.media.formats import ImageFormat, Payload, with_extension
from aimlapi_images.media.image_finder import ImageEntry
from aimlapi_images.media.json_values import shorten_url
from aimlapi_images.models import GeneratedImage, Usage
from aimlapi_images.orders.order import Order
from aimlapi_images.threads import Threads


@attrs.define
class Delivery:
    """The images of one answer."""

    order: Order
    answer: ImageAnswer
    attempts: int
    started: float  # by the monotonic clock, in seconds
    _downloads: dict[int, Payload | Failure] = attrs.field(factory=dict, init=False)

    @property
    def missing_urls(self) -> tuple[str, ...]:
        """The URLs of the images that have not been fetched."""
        return tuple(url for number, url in self._urls() if not isinstance(self._downloads.get(number), Payload))

    def _urls(self) -> list[tuple[int, str]]:
        entries = enumerate(self.answer.entries, 1)
        return [(number, entry.url) for number, entry in entries if entry.payload is None and entry.url]

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

        Raises:
            ImageError: `late` (the deadline passed), or the first problem with an image. The error has all images that
                are complete, and the URLs of those that are missing.
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
            return _not_saved(image, error, self.order.to)
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
    """Check the images that came in the answer itself.

    Returns:
        The answer, without broken payloads that have a URL beside them; or why it brought no image at all.
    """
    entries: list[ImageEntry] = []
    failures: list[Failure] = []
    for entry in answer.entries:
        if (payload := entry.payload) is not None and payload.error:
            if entry.url:
                entry = attrs.evolve(entry, payload=None)
            else:
                failures.append(_invalid(entry, payload, answer))
        entries.append(entry)
    return failures[0] if len(failures) == len(entries) else attrs.evolve(answer, entries=tuple(entries))


def _invalid(entry: ImageEntry, payload: Payload, answer: ImageAnswer) -> Failure:
    """The failure that bytes mean which are not a whole image."""
    source = f" from {shorten_url(entry.url)}" if entry.payload is None and entry.url else ""
    problem = f"{payload.problem}; " if payload.problem else ""
    reason = f"the payload{source} is not a valid image: {problem}{payload.error}"
    message = f"{reason}. It is paid for, and in this error's `data`"
    details = {"data": payload.data, "url": entry.url, "inference_id": answer.inference_id}
    return Failure(Outcome.UNKNOWN, DecodeError, message, details=details, cause=payload.error)


def _not_saved(image: GeneratedImage, error: OSError, to: Path) -> Failure:
    reason = f"{error.strerror}: {error.filename or to}"
    message = f"the image is generated and paid for, but could not be written: {reason}. It is in this error's `image`"
    return Failure(Outcome.UNKNOWN, NotSavedError, message, details={"image": image}, cause=error)
