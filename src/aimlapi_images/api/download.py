"""Download image URLs, with size limits and without the key."""

import asyncio
from typing import Any, Final

import httpx

from aimlapi_images.api.auth import origin
from aimlapi_images.api.exchange import BodySlots, BodyTooLargeError, describe, receive
from aimlapi_images.api.outcome import Failure, Outcome
from aimlapi_images.api.response_parser import retry_after
from aimlapi_images.api.ssrf import UntrustedURLError, guarded
from aimlapi_images.errors import DownloadError
from aimlapi_images.media.formats import IncompleteImageError, Payload
from aimlapi_images.media.json_values import shorten, shorten_url

MAX_IMAGE_BYTES: Final = 64 * 2**20
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
MAX_REDIRECTS: Final = 10  # as long as the chains of CDNs get; each hop is checked

# The API itself named the URL, so soon after a generation these mean "not there yet".
_TRANSIENT: Final = (202, 403, 404, 408, 425, 429)


class Downloader:
    """Fetches generated images, `max_concurrency` at a time: the throttle limits generations only.

    Images at the API's own origin may come over plain HTTP. An API on this machine, such as the emulator, may also name
    other ports of it, but no redirect leads there.
    """

    def __init__(self, http: httpx.AsyncClient, api_url: httpx.URL, max_concurrency: int, bodies: BodySlots) -> None:
        self._bodies = bodies
        self._http = http
        self._api_origin = origin(api_url)
        self._this_machine = api_url.host if api_url.scheme == "http" and api_url.host in _LOOPBACK else None
        self._slots = asyncio.Semaphore(max_concurrency)

    async def fetch(self, url: str, *, to_disk: bool) -> Payload | Failure:
        """Try once to fetch an image. A failure keeps the URL, and what arrived: it is paid for."""
        try:
            async with self._slots:
                return await self._fetch(url, to_disk=to_disk)
        except Exception as error:
            return _failure(error, url)

    async def _fetch(self, given: str, *, to_disk: bool) -> Payload | Failure:
        url = httpx.URL(given)
        for redirects in range(1 + MAX_REDIRECTS):
            local = not redirects and (url.scheme, url.host) == ("http", self._this_machine)
            guard = {} if local else self._guard(url)
            request = self._http.build_request("GET", url, headers={"Accept-Encoding": "identity"}, extensions=guard)
            response = await self._http.send(request, stream=True, follow_redirects=False)
            try:
                if response.next_request is not None:
                    url = response.next_request.url
                    continue
                status = response.status_code
                if status != 200:
                    raise _UnusableAnswerError(
                        f"HTTP {status} from {response.url.host}",
                        transient=status in _TRANSIENT or status >= 500,
                        retry_after=retry_after(response.headers),
                    )
                async with self._bodies.slot(to_disk=to_disk) as held:
                    body, problem = await receive(response, MAX_IMAGE_BYTES, reserve=held)
                    payload = Payload.of(bytes(body))
                if problem is None and isinstance(payload.error, IncompleteImageError):
                    problem = _UnusableAnswerError(str(payload.error), transient=True)
                # Something that is not an image at all is not worth another try: `Delivery.finish` says so.
                return payload if problem is None else _failure(problem, given, payload.data)
            finally:
                await response.aclose()
        raise UntrustedURLError(f"more than {MAX_REDIRECTS} redirects")

    def _guard(self, url: httpx.URL) -> dict[str, Any]:
        """Refuse URLs that are not fetched; else the request's extensions that check the connection."""
        if origin(url) == self._api_origin:
            return {}
        if url.scheme != "https":
            shown = f"{url.scheme}://{url.netloc.decode()}" if url.scheme else "a URL without a scheme"
            raise UntrustedURLError(f"{shown} is not https")
        return guarded(url)


class _UnusableAnswerError(Exception):
    """The image host answered with something else than the image. Only with defaults can it be copied and pickled."""

    def __init__(self, message: str, *, transient: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.transient = transient
        self.retry_after = retry_after


def _failure(error: Exception, url: str, part: bytes = b"") -> Failure:
    """What a failed download means. Only problems that may pass are worth another try."""
    may_pass = isinstance(error, httpx.TransportError) and not isinstance(error, httpx.UnsupportedProtocol)
    transient = error.transient if isinstance(error, _UnusableAnswerError) else may_pass
    ours = isinstance(error, _UnusableAnswerError | UntrustedURLError | BodyTooLargeError)
    reason = shorten(str(error)) if ours else describe(error)
    # A URL that is refused here is not recommended either.
    advice = "Its URL is" if isinstance(error, UntrustedURLError) else "Fetch it soon from"
    message = f"the image is generated and paid for, but could not be fetched: {reason}. {advice} {shorten_url(url)}; "
    message += "generating it again would be billed again"
    details = {"url": url, "urls": (url,), "data": part, "may_be_billed": True}
    outcome, wait = Outcome.FAILED if transient else Outcome.REFUSED, getattr(error, "retry_after", None)
    return Failure(outcome, DownloadError, message, details=details, retry_after=wait, cause=error)
