"""From the API's answer to images: fetched where they came as a URL, looked at, and written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import attrs

from aimlapi_images.downloads import Downloader
from aimlapi_images.errors import DecodeError, DownloadError, ImageError, NotSavedError
from aimlapi_images.files import check_target, free_number
from aimlapi_images.formats import ImageFormat, read_file_format, read_format
from aimlapi_images.images import GeneratedImage
from aimlapi_images.orders import Order
from aimlapi_images.receiving import ImageSink, Sinks, broken_image
from aimlapi_images.responses import ImageAnswer, ImageEntry
from aimlapi_images.sinks import FileSink
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


async def receive(
    order: Order, answer: ImageAnswer, downloader: Downloader, sinks: Sinks
) -> list[Received | ImageError]:
    """Get every image of an answer, or the error why it cannot be had."""

    async def get(entry: ImageEntry) -> Received | ImageError:
        if entry.broken is not None:
            return await broken_image(entry.broken, inference_id=answer.inference_id, order=order.id)
        if entry.payload is not None:
            return Received(entry, entry.payload.sink)
        assert entry.url is not None  # noqa: S101 - an entry has one or the other
        try:
            return Received(entry, await downloader.fetch(entry.url, sinks, order=order.id))
        except DownloadError as error:
            error.usage, error.inference_id = answer.usage, answer.inference_id
            return error

    if len(answer.entries) == 1:
        return [await get(answer.entries[0])]
    return await asyncio.gather(*map(get, answer.entries))


@attrs.frozen
class Collector:
    """Makes images of what was received.

    Attributes:
        order: What was wanted.
        answer: What the API said.
        received: Each of its images, or why it cannot be had.
        attempts: How many times the order was sent.
        seconds: How long it took.
    """

    order: Order
    answer: ImageAnswer
    received: Sequence[Received | ImageError]
    attempts: int
    seconds: float

    async def collect(self) -> GeneratedImage:
        """Look at each image, and write it where the order says: the first one, which holds the others.

        Raises:
            ImageError: The first of those received, if there is one.
            DecodeError: What came is not an image.
            NotSavedError: It could not be written.
        """
        images: list[GeneratedImage] = []
        errors: list[ImageError] = []
        for number, each in enumerate(self.received, 1):
            if isinstance(each, ImageError):
                errors.append(each)
                continue
            try:
                images.append(await self._image(each, number))
            except ImageError as error:
                errors.append(error)
        if errors:
            unsaved = (each.image for each in errors[1:] if isinstance(each, NotSavedError))
            errors[0].images = (*images, *unsaved)
            raise errors[0]
        # The cost is that of the order, and not of each.
        others = tuple(attrs.evolve(image, usage=Usage()) for image in images[1:])
        return attrs.evolve(images[0], others=others) if others else images[0]

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
            with part.open("rb") as file:
                formats.append(read_file_format(file, sink.size))
            assert self.order.to is not None  # noqa: S101 - or there would be no file
            return check_target(free_number(self.order.to, number), formats[0].name)

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
        return self._made(received, formats[0], sink.size, path=path)

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
            seconds=self.seconds,
            url=received.entry.url,
            revised_prompt=received.entry.revised_prompt,
            inference_id=self.answer.inference_id,
        )
