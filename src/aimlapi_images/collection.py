"""From the API's answer to images: fetched where they came as a URL, and looked at."""

from __future__ import annotations

import asyncio
import time

import attrs

from aimlapi_images.downloads import Downloader
from aimlapi_images.errors import DecodeError, DownloadError
from aimlapi_images.formats import read_format
from aimlapi_images.images import GeneratedImage
from aimlapi_images.orders import Order
from aimlapi_images.responses import ImageAnswer, ImageEntry
from aimlapi_images.spending import Usage


@attrs.frozen
class Collector:
    """Makes images of answers.

    Attributes:
        downloader: Fetches those that came as a URL.
    """

    downloader: Downloader

    async def collect(self, order: Order, answer: ImageAnswer, *, attempts: int, started: float) -> GeneratedImage:
        """Get every image of the answer: the first one, which holds the others.

        Args:
            order: What was wanted.
            answer: What came.
            attempts: How many times the order was sent.
            started: When it began, by `time.monotonic()`.

        Raises:
            DownloadError: One could not be fetched. Those that could are in the error.
            DecodeError: One is not an image. Those that are, are in the error.
        """

        async def get(entry: ImageEntry) -> GeneratedImage | DecodeError | DownloadError:
            try:
                data = await self._data(order, answer, entry)
                return _image(order, answer, entry, data, attempts=attempts, seconds=time.monotonic() - started)
            except (DecodeError, DownloadError) as error:
                return error

        found = (
            [await get(answer.entries[0])]
            if len(answer.entries) == 1
            else await asyncio.gather(*map(get, answer.entries))
        )
        images = tuple(each for each in found if isinstance(each, GeneratedImage))
        for each in found:
            if not isinstance(each, GeneratedImage):
                each.images = images
                raise each
        # The cost is that of the order, and not of each.
        others = tuple(attrs.evolve(image, usage=Usage()) for image in images[1:])
        return attrs.evolve(images[0], others=others) if others else images[0]

    async def _data(self, order: Order, answer: ImageAnswer, entry: ImageEntry) -> bytes:
        if entry.problem is not None:
            raise entry.problem
        if entry.data is not None:
            return entry.data
        assert entry.url is not None  # noqa: S101 - an entry has one of the three
        try:
            return await self.downloader.fetch(entry.url, order=order.id)
        except DownloadError as error:
            error.usage, error.inference_id = answer.usage, answer.inference_id
            raise


def _image(
    order: Order, answer: ImageAnswer, entry: ImageEntry, data: bytes, *, attempts: int, seconds: float
) -> GeneratedImage:
    try:
        format_ = read_format(data)
    except ValueError as error:
        raise DecodeError(
            f"what came is not an image: {error}",
            data=data,
            url=entry.url,
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
        url=entry.url,
        revised_prompt=entry.revised_prompt,
        inference_id=answer.inference_id,
    )
