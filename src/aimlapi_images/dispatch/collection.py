"""From the API's answer to images: fetched where they came as a URL, looked at, and written."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import attrs

from aimlapi_images.api.download import Downloader
from aimlapi_images.api.response_parser import ImageAnswer, ImageEntry
from aimlapi_images.errors import DeadlineExceededError, DecodeError, DownloadError, ImageError, NotSavedError
from aimlapi_images.media.files import free_number
from aimlapi_images.media.formats import ImageFormat, read_file_format, read_format, with_extension
from aimlapi_images.media.receiving import ImageSink, Sinks, broken_image
from aimlapi_images.media.sinks import FileSink
from aimlapi_images.models import GeneratedImage
from aimlapi_images.orders.order import Order
from aimlapi_images.spending import Usage


@attrs.frozen
class Received:
    """One image of an answer, whole.

    Attributes:
        entry: What the answer said of it.
        sink: Where its bytes are.
    """

    entry: ImageEntry
    sink: ImageSink


@attrs.define
class Collector:
    """Fetches the images of an answer, and makes of them what the caller gets.

    Attributes:
        order: What was wanted.
        answer: What the API said.
        attempts: How many times the order was sent.
        started: When that began, by the monotonic clock.
        late: The error that says so, if the order's time was up before all was fetched and told.
    """

    order: Order
    answer: ImageAnswer
    attempts: int
    started: float
    late: DeadlineExceededError | None = None
    _fetched: dict[int, ImageSink | DownloadError] = attrs.field(factory=dict, init=False)
    _seconds: float = attrs.field(default=0.0, init=False)

    @property
    def unfetched(self) -> tuple[str, ...]:
        """The URLs of those images that are not here."""
        return tuple(
            entry.url
            for number, entry in enumerate(self.answer.entries, 1)
            if entry.payload is None and entry.url and isinstance(self._fetched.get(number), DownloadError | None)
        )

    async def fetch(self, downloader: Downloader, sinks: Sinks) -> None:
        """Fetch the images that came as URLs. When this is cancelled, those that are whole stay."""

        async def fetch(number: int, url: str) -> None:
            try:
                self._fetched[number] = await downloader.fetch(url, sinks, order=self.order.id)
            except DownloadError as error:
                error.usage, error.inference_id = self.answer.usage, self.answer.inference_id
                self._fetched[number] = error

        wanted = [(number, e.url) for number, e in enumerate(self.answer.entries, 1) if e.payload is None and e.url]
        if len(wanted) == 1:
            await fetch(*wanted[0])
            return
        async with asyncio.TaskGroup() as tasks:
            for each in wanted:
                tasks.create_task(fetch(*each))

    async def collect(self) -> GeneratedImage:
        """Look at each image, and write it where the order says: the first one, which holds the others.

        Raises:
            ImageError: `late`, or the first of the others; it has the images that are whole, and the URLs of those
                that could not be fetched.
            DownloadError: It could not be fetched.
            DecodeError: What came is not an image.
            NotSavedError: It could not be written.
        """
        self._seconds = time.monotonic() - self.started
        images: list[GeneratedImage] = []
        errors: list[ImageError] = [] if self.late is None else [self.late]
        for number, entry in enumerate(self.answer.entries, 1):
            try:
                sink = await self._sink(number, entry)
                if sink is not None:
                    images.append(await self._image(Received(entry, sink), number))
            except ImageError as error:
                errors.append(error)
        if errors:
            raise self._with_the_rest(errors, images)
        # The cost is that of the order, and not of each.
        others = tuple(attrs.evolve(image, usage=Usage()) for image in images[1:])
        return attrs.evolve(images[0], others=others) if others else images[0]

    def _with_the_rest(self, errors: list[ImageError], images: list[GeneratedImage]) -> ImageError:
        """The first error, and in it all that the answer brought beside."""
        first = errors[0]
        first.images = (*images, *(each.image for each in errors[1:] if isinstance(each, NotSavedError)))
        more = [url for url in self.unfetched if url not in first.urls]
        first.urls += tuple(more)
        said = [str(first.args[0])]
        if more:
            said.append(f"not fetched either: {', '.join(more)}")
        if first.images:
            paths = [str(image.path) for image in first.images if image.path is not None]
            written = f", written to {', '.join(paths)}" if paths else ""
            said.append(f"what came whole is in this error's `images`{written}")
        first.args = ("; ".join(said),)
        return first

    async def _sink(self, number: int, entry: ImageEntry) -> ImageSink | None:
        """Where an image's bytes are; `None` if the deadline came before it."""
        if entry.broken is not None:
            raise await broken_image(entry.broken, inference_id=self.answer.inference_id, order=self.order.id)
        if entry.payload is not None:
            return entry.payload.sink
        fetched = self._fetched.get(number)
        if isinstance(fetched, DownloadError):
            raise fetched
        return fetched

    async def _image(self, received: Received, number: int) -> GeneratedImage:
        if isinstance(received.sink, FileSink):
            return await self._written(received, received.sink, number)
        return await self._held(received)

    async def _held(self, received: Received) -> GeneratedImage:
        """An image in memory."""
        data = await received.sink.rescue()
        try:
            return self._made(received, read_format(data), len(data), data=data)
        except ValueError as error:
            raise self._no_image(received, data, error) from error

    async def _written(self, received: Received, sink: FileSink, number: int) -> GeneratedImage:
        """An image in a file. What cannot be written stays in memory, in the error."""
        formats: list[ImageFormat] = []

        def name(part: Path) -> Path:
            try:
                formats.append(read_format(sink.head))
            except ValueError:  # a JPEG may tell its size far behind
                with part.open("rb") as file:
                    formats.append(read_file_format(file, sink.size))
            assert self.order.to is not None  # noqa: S101 - or there would be no file
            return Path(with_extension(free_number(self.order.to, number), formats[0].name))

        try:
            path = await sink.keep(name)
        except ValueError as error:
            raise self._no_image(received, await sink.rescue(), error) from error
        except OSError as error:
            image = await self._held(Received(received.entry, received.sink))
            raise NotSavedError(
                f"the image is generated and paid for, but could not be written: {error.strerror}: {error.filename}. "
                "It is in this error's `image`",
                image=image,
                order=self.order.id,
            ) from error
        return self._made(received, formats[0], sink.size, path=self.order.as_given(path))

    def _no_image(self, received: Received, data: bytes, error: ValueError) -> DecodeError:
        where = f" from {received.entry.url}" if received.entry.payload is None else ""
        return DecodeError(
            f"what came{where} is not an image: {error}. It is paid for, and in this error's `data`",
            data=data,
            url=received.entry.url,
            inference_id=self.answer.inference_id,
            order=self.order.id,
        )

    def _made(
        self,
        received: Received,
        format_: ImageFormat,
        file_size: int,
        *,
        data: bytes | None = None,
        path: Path | None = None,
    ) -> GeneratedImage:
        return GeneratedImage(
            data=data,
            path=path,
            file_size=file_size,
            format=format_.name,
            media_type=format_.media_type,
            width=format_.width,
            height=format_.height,
            prompt=self.order.prompt,
            parameters=self.order.parameters,
            usage=self.answer.usage,
            order=self.order.id,
            attempts=self.attempts,
            seconds=self._seconds,
            url=received.entry.url,
            revised_prompt=received.entry.revised_prompt,
            inference_id=self.answer.inference_id,
        )
