"""A Dask cluster that fetches the images of a batch and puts them into object storage.

Only this process sends orders: it alone knows the key, the limits, the budget and the state. An order is a few hundred
bytes that wait for half a minute, so that one process keeps thousands of them open. What needs machines is the rest:
the images. To fetch one is free and can be repeated, so Dask may run such a task as often as workers die.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import attrs

from aimlapi_images.about import needs_extra
from aimlapi_images.batch.cloud.bucket import Bucket
from aimlapi_images.batch.models import is_gone
from aimlapi_images.batch.store.folder import StoredImage
from aimlapi_images.client import ImageClient
from aimlapi_images.errors import BatchError, ConnectionFailedError, ImageError, InvalidRequestError
from aimlapi_images.media.formats import EXTENSIONS

if TYPE_CHECKING:
    from distributed import Client


def fetch_image(url: str, bucket: str, stem: str, number: int, base_url: str) -> StoredImage:
    """Fetch an image, and write it to the bucket. Runs on a worker, which needs this package but no key.

    Args:
        url: The image's URL.
        bucket: The URL of the bucket.
        stem: The object's name there, without extension.
        number: The image's number in its answer, from 1.
        base_url: The API's base URL; images at its origin may be fetched, even if it is local.
    """

    async def fetch() -> StoredImage:
        started = time.monotonic()
        async with ImageClient("no-key-is-needed", base_url=base_url) as client:
            try:
                image = await client.fetch(url)
            except ImageError as error:
                if is_gone(error):
                    raise
                # Errors lose their causes on the way, so that this has to be decided here.
                raise ConnectionFailedError(f"the image could not be fetched: {error}") from error
        name = stem + EXTENSIONS[image.format][0]
        Bucket.at(bucket).write(name, image.data)
        seconds = time.monotonic() - started
        return StoredImage(
            number, name, len(image.data), image.sha256, 0, image.format, image.width, image.height, seconds
        )

    return asyncio.run(fetch())


@attrs.define
class Cluster:
    """A connection to a Dask scheduler. Use it as `async with`.

    Args:
        scheduler: Its address, such as `tcp://10.0.0.1:8786`, or a `distributed.Client`.
    """

    scheduler: str | Client
    _client: Any = attrs.field(default=None, init=False)

    async def __aenter__(self) -> Self:
        try:
            import distributed
        except ModuleNotFoundError as error:
            raise InvalidRequestError(needs_extra("a Dask cluster", "dask")) from error
        given: Any = self.scheduler
        known = {} if isinstance(given, str) else {"security": given.security}
        address = given if isinstance(given, str) else given.scheduler.address
        client_class: Any = distributed.Client
        client = None
        try:
            # One of our own, in this event loop, whatever the caller's is.
            client = client_class(address, asynchronous=True, set_as_default=False, **known)
            self._client = await client
        except Exception as error:  # of the network, of Dask, or for bytes that it does not understand
            if client is not None:
                await client.close()
            raise BatchError(f"no Dask scheduler answers at {address}: {str(error) or type(error).__name__}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.close()

    async def fetch(self, url: str, bucket: Bucket, stem: str, number: int, base_url: str) -> StoredImage:
        """Let a worker fetch an image. If it dies, another one does.

        Raises:
            ImageError: It could not be fetched or written. It is still paid for, and the next run tries again.
        """
        task = self._client.submit(fetch_image, url, bucket.url, stem, number, base_url, pure=False)
        try:
            image: StoredImage = await task
        except ImageError:
            raise
        except asyncio.CancelledError:
            if (running := asyncio.current_task()) is not None and running.cancelling():
                raise
            raise ConnectionFailedError("the Dask scheduler has forgotten the task") from None
        except Exception as error:  # of Dask: all workers died, the scheduler is gone
            raise ConnectionFailedError(f"the Dask cluster could not do it: {type(error).__name__}: {error}") from error
        return image
