"""Image URLs: fetched without the key, within limits, and as often as it takes: what is there is paid for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Final

import attrs
import httpx

from aimlapi_images.api.auth import origin
from aimlapi_images.api.exchange import describe
from aimlapi_images.api.response_parser import retry_after
from aimlapi_images.api.ssrf import UntrustedURLError, check_host, guarded
from aimlapi_images.bodies import BodyGate, announced_length
from aimlapi_images.dispatch.retry import RetryPolicy, backoff
from aimlapi_images.errors import DownloadError
from aimlapi_images.media.json_decoder import BodyTooLargeError
from aimlapi_images.media.sinks import Sink, SinkSet

MAX_IMAGE_BYTES: Final = 64 * 2**20
MAX_REDIRECTS: Final = 3


class Downloader:
    """Fetches what the API has generated, with a client that has no key.

    Args:
        http: Makes no use of keys or cookies of the API's.
        api_url: The API's own address. Its images may come by plain http, if the API does.
        max_concurrency: How many downloads at a time.
        policy: How often a download is tried, and how long it waits in between.
        gate: Lets images be received.
        chance: Gives random numbers from 0 to 1.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        api_url: httpx.URL,
        max_concurrency: int,
        policy: RetryPolicy,
        gate: BodyGate,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._http = http
        self._api_origin = origin(api_url)
        self._slots = asyncio.Semaphore(max_concurrency)
        self._policy = policy
        self._gate = gate
        self._chance = chance

    async def fetch(self, url: str, sinks: SinkSet, *, order: str) -> Sink:
        """Fetch one image; go on where a broken download ended, if the server lets us.

        Args:
            url: Where it is.
            sinks: Give it a place.
            order: The order that it is for.

        Returns:
            The place where it is, whole.

        Raises:
            DownloadError: It could not be fetched, and is paid for. The error has the URL.
        """
        part = _Part(sinks)
        failures = 0
        while True:
            try:
                async with self._slots:
                    await self._fetch(httpx.URL(url), part)
                return part.sink
            except Exception as error:  # whatever it is, the image is paid for, and its URL must not be lost
                failures += 1
                wait = self._wait(error, failures)
                if wait is None:
                    raise _lost(error, url, order) from error
            await asyncio.sleep(wait)

    def _wait(self, error: Exception, failures: int) -> float | None:
        """Seconds until it may be tried again, or `None` if that is no use."""
        asked = 0.0
        if isinstance(error, _RefusedError):
            if not error.passing:
                return None
            asked = error.retry_after or 0.0
        elif not isinstance(error, httpx.TransportError) or isinstance(error, httpx.UnsupportedProtocol):
            return None
        if failures >= self._policy.attempts or asked > self._policy.longest_retry_after:
            return None
        return max(asked, backoff(self._policy, failures, self._chance()))

    async def _fetch(self, url: httpx.URL, part: _Part) -> None:
        for _ in range(1 + MAX_REDIRECTS):
            extensions = self._checked(url)
            async with self._http.stream(
                "GET", url, headers=part.headers, follow_redirects=False, extensions=extensions
            ) as response:
                if response.next_request is not None:
                    url = response.next_request.url
                    continue
                if not await part.begins_or_goes_on(response):
                    raise _RefusedError(
                        f"HTTP {response.status_code} from {url.host}",
                        passing=response.status_code in (206, 408, 416, 429) or response.status_code >= 500,
                        retry_after=retry_after(response.headers),
                    )
                await part.read(response, self._gate)
                return
        raise _RefusedError(f"more than {MAX_REDIRECTS} redirects")

    def _checked(self, url: httpx.URL) -> dict[str, Any]:
        """Refuse what is not fetched; else the extensions of a request for it."""
        if origin(url) == self._api_origin:
            return {}
        if url.scheme != "https":
            shown = f"{url.scheme}://{url.netloc.decode()}" if url.scheme else "a URL without a scheme"
            raise UntrustedURLError(f"{shown} is not https")
        check_host(url)
        return guarded(url)


def _lost(error: Exception, url: str, order: str) -> DownloadError:
    """The error that a download means that is given up."""
    ours = _RefusedError | UntrustedURLError | BodyTooLargeError
    why = str(error) if isinstance(error, ours) else describe(error)
    # What is refused here is not recommended either.
    advice = f"It is said to be at {url}" if isinstance(error, UntrustedURLError) else f"Fetch it from {url}, soon"
    return DownloadError(
        f"the image is generated and paid for, but could not be fetched: {why}. "
        f"{advice}; generating again would be billed again",
        url=url,
        order=order,
    )


@attrs.define
class _Part:
    """What has come of an image so far, and what says that the rest is of the same one.

    Attributes:
        sinks: Give a place to what begins anew.
        sink: Has the bytes from the beginning.
        validator: The server's strong `ETag`, or `Last-Modified`, of these bytes; `None` if it gave neither.
    """

    sinks: SinkSet
    sink: Sink = attrs.field(init=False)
    validator: str | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.sink = self.sinks.open()

    @property
    def headers(self) -> dict[str, str]:
        """What to ask for: the image as it is, from where we are."""
        headers = {"Accept-Encoding": "identity"}
        if self.sink.size and self.validator:
            headers |= {"Range": f"bytes={self.sink.size}-", "If-Range": self.validator}
        return headers

    async def begins_or_goes_on(self, response: httpx.Response) -> bool:
        """Whether what comes now belongs behind what we have. What does not is forgotten."""
        expected, size = f"bytes {self.sink.size}-", self.sink.size
        if response.status_code == 206 and size and response.headers.get("content-range", "").startswith(expected):
            return True
        if size and response.status_code in (200, 206, 416):
            await self.sink.discard()
            self.sink = self.sinks.open()
        if response.status_code != 200:
            return False
        entity = response.headers.get("etag", "")
        self.validator = entity if entity.startswith('"') else response.headers.get("last-modified")
        return True

    async def read(self, response: httpx.Response, gate: BodyGate) -> None:
        """Read a streamed body to its end. What came before an error stays.

        Raises:
            BodyTooLargeError: There would be more than `MAX_IMAGE_BYTES`.
        """
        if not self.sink.size:
            self.sink.reserve(announced_length(response))
        async with aclosing(gate.pieces(response)) as pieces:
            async for piece in pieces:
                self.sink.write(piece)
                if self.sink.size > MAX_IMAGE_BYTES:
                    raise BodyTooLargeError(f"more than {MAX_IMAGE_BYTES:,} bytes")
                await self.sink.drain()


class _RefusedError(Exception):
    """This URL is not fetched, or its host does not give it.

    Attributes:
        passing: Whether it may do so later.
        retry_after: Seconds that it asks to wait, if it does.
    """

    def __init__(self, why: str, *, passing: bool = False, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.passing = passing
        self.retry_after = retry_after
