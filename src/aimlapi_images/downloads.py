"""Image URLs: fetched without the key, within limits."""

from __future__ import annotations

import asyncio
from typing import Final

import httpx

from aimlapi_images.auth import origin
from aimlapi_images.errors import DownloadError
from aimlapi_images.exchange import BodyTooLargeError, describe, read_body

MAX_IMAGE_BYTES: Final = 64 * 2**20
MAX_REDIRECTS: Final = 3


class Downloader:
    """Fetches what the API has generated, with a client that has no key.

    Args:
        http: Makes no use of keys or cookies of the API's.
        api_url: The API's own address. Its images may come by plain http, if the API does.
        max_concurrency: How many downloads at a time.
    """

    def __init__(self, http: httpx.AsyncClient, api_url: httpx.URL, max_concurrency: int) -> None:
        self._http = http
        self._api_origin = origin(api_url)
        self._slots = asyncio.Semaphore(max_concurrency)

    async def fetch(self, url: str, *, order: str) -> bytes:
        """Fetch one image.

        Raises:
            DownloadError: It could not be fetched, and is paid for. The error has the URL.
        """
        try:
            async with self._slots:
                return await self._fetch(httpx.URL(url))
        except (_RefusedError, BodyTooLargeError, httpx.RequestError, httpx.InvalidURL) as error:
            why = str(error) if isinstance(error, _RefusedError | BodyTooLargeError) else describe(error)
            raise DownloadError(
                f"the image is generated and paid for, but could not be fetched: {why}. "
                f"Fetch it from {url} before it expires; generating again would be billed again",
                url=url,
                order=order,
            ) from error

    async def _fetch(self, url: httpx.URL) -> bytes:
        for _ in range(1 + MAX_REDIRECTS):
            self._check(url)
            async with self._http.stream("GET", url, follow_redirects=False) as response:
                if response.next_request is not None:
                    url = response.next_request.url
                    continue
                if response.status_code != 200:
                    raise _RefusedError(f"HTTP {response.status_code} from {url.host}")
                return await read_body(response, MAX_IMAGE_BYTES)
        raise _RefusedError(f"more than {MAX_REDIRECTS} redirects")

    def _check(self, url: httpx.URL) -> None:
        if url.scheme != "https" and origin(url) != self._api_origin:
            raise _RefusedError(f"{url.scheme or 'no scheme'}://{url.host} is not https")


class _RefusedError(Exception):
    """This URL is not fetched, or its host does not give it."""
