"""One HTTP exchange with the API: send a request, read the answer and decode its images."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final, cast

import attrs
import httpx

from aimlapi_images.api.auth import BearerAuth
from aimlapi_images.api.outcome import Failure, Outcome
from aimlapi_images.api.response_parser import HTTPAnswer
from aimlapi_images.errors import ConnectionFailedError, DecodeError, InvalidRequestError, OutcomeUnknownError
from aimlapi_images.media.embedded_images import MAX_LEFT_BYTES, cut_images
from aimlapi_images.media.json_values import number, parsed, shorten
from aimlapi_images.orders.uploads import UploadStream, read_in_threads
from aimlapi_images.threads import Threads

MAX_BASE64_BYTES: Final = 88 * 2**20  # of a body, for each image: more than 64 MiB as base64
_MAX_ERROR_BYTES: Final = 64 * 2**10
_MAX_HEADER: Final = 1_000  # characters

# Nothing of the request has left this machine.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_INVALID: Final = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
# Users of requests know other variables.
_CERTIFICATE_HINT: Final = (
    "; SSL_CERT_FILE names the file of trusted certificates, SSL_CERT_DIR their folder "
    "(REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE are not read)"
)
_WORDS: Final = {
    httpx.ConnectTimeout: "no connection in time",
    httpx.ReadTimeout: "no data in time",
    httpx.WriteTimeout: "it could not be sent in time",
    httpx.NetworkError: "the connection broke",
}


class BodySlots:
    """Limits concurrent body reads, to bound memory and loop latency when hundreds of answers arrive together.

    Measured with 200 answers of 1.5 MB at once: 119 MB and 0.2 s of a blocked loop, in place of 481 MB and 0.4 s.
    A body that stalls keeps its slot, so when no slot was freed for a while, the next body is read without one.

    An image that is to be written is not read before earlier ones are written. Until then its order keeps its place in
    the throttle, so that a slow disk holds back further orders, too.
    """

    def __init__(self, threads: Threads, slots: int = 12, patience: float = 5.0) -> None:
        self._threads = threads
        self._slots = asyncio.Semaphore(slots)
        self._patience = patience
        self._freed = 0

    @asynccontextmanager
    async def slot(self, *, to_disk: bool) -> AsyncIterator[bool]:
        """Wait for a slot, or until bodies that stall seem to hold them all; and for the disk. Whether it is a slot."""
        held = await self._acquire()
        try:
            if to_disk:
                await self._threads.catch_up()
            yield held
        finally:
            if held:
                self._freed += 1
                self._slots.release()

    async def _acquire(self) -> bool:
        while True:
            freed = self._freed
            try:
                async with asyncio.timeout(self._patience):
                    return await self._slots.acquire()
            except TimeoutError:
                if self._freed == freed:
                    return False


@attrs.frozen
class Exchange:
    """Sends requests to the API, with the key, and reads whole answers."""

    http: httpx.AsyncClient
    auth: BearerAuth
    threads: Threads
    bodies: BodySlots

    async def __call__(
        self, request: httpx.Request, max_images: int = 0, *, to_disk: bool = False
    ) -> HTTPAnswer | Failure:
        """Send one request and read its answer, whatever the status. `to_disk`: its images are to be written."""
        read_in_threads(request, self.threads)
        upload = request.stream if isinstance(request.stream, UploadStream) else None
        try:
            response = await self.http.send(request, auth=self.auth, stream=True)
            try:
                return await self._read(response, max_images, to_disk=to_disk)
            finally:
                await response.aclose()
        except InvalidRequestError as error:  # a file that changed since it was checked
            return Failure(Outcome.REFUSED, InvalidRequestError, str(error), cause=error)
        except httpx.RequestError as error:
            said = self.auth.redact(str(error).encode(errors="backslashreplace")).decode()
            if said != str(error):  # a server repeated the key, and the errors that led to this one show it, too
                error = type(error)(said)
            # Some programs, such as Dask, pickle the causes of errors: they keep no request with its key.
            error.request = httpx.Request(request.method, request.url)
            return _unanswered(error, upload)
        except RuntimeError as error:
            if not self.http.is_closed:
                raise
            message = "the client was closed before this order was sent"
            return Failure(Outcome.REFUSED, InvalidRequestError, message, cause=error)

    async def _read(self, response: httpx.Response, max_images: int, *, to_disk: bool) -> HTTPAnswer | Failure:
        # Servers repeat what they were sent, the key included.
        headers = {
            name: self.auth.redact(each.encode()).decode()[:_MAX_HEADER] for name, each in response.headers.items()
        }
        if not response.is_success:
            async with aclosing(cast(AsyncGenerator[bytes], response.aiter_bytes(_MAX_ERROR_BYTES))) as pieces:
                start = await anext(pieces, b"")
            return HTTPAnswer(response.status_code, headers, self.auth.redact(start))
        async with self.bodies.slot(to_disk=to_disk) as held:
            body, problem = await receive(response, MAX_LEFT_BYTES + max_images * MAX_BASE64_BYTES, reserve=held)
        left, payloads = cut_images(body)
        if len(left) > MAX_LEFT_BYTES:
            problem = BodyTooLargeError(f"more than {MAX_LEFT_BYTES:,} bytes beside images")
        if isinstance(problem, BodyTooLargeError):
            return Failure(Outcome.UNKNOWN, DecodeError, f"the answer is too large: {problem}")
        if problem is not None and all(payload.error for payload in payloads.values()):
            del body, left, payloads  # which the error's traceback would keep
            raise problem  # unless it brought a complete image before that
        shown = self.auth.redact(bytes(left[:_MAX_ERROR_BYTES]))
        return HTTPAnswer(response.status_code, headers, shown, parsed(left), payloads)


class BodyTooLargeError(Exception):
    """A body exceeds a limit."""


async def receive(response: httpx.Response, limit: int, *, reserve: bool) -> tuple[bytearray, Exception | None]:
    """What arrived of a body, and what kept it from arriving whole.

    With `reserve`, memory of the stated size is taken at once: a body that grows is copied again and again.
    """
    stated = (reserve and number(response.headers.get("content-length"))) or 0.0
    body, size, problem = bytearray(int(min(max(0.0, stated), MAX_LEFT_BYTES))), 0, None
    try:
        async for piece in response.aiter_bytes():
            body[size : size + len(piece)] = piece
            size += len(piece)
            if size > limit:
                return bytearray(), BodyTooLargeError(f"more than {limit:,} bytes")
    except Exception as error:  # of httpx, or of a transport of the caller's
        problem = error.with_traceback(None)  # which would keep the body
    del body[size:]
    return body, problem


def _unanswered(error: httpx.RequestError, upload: UploadStream | None) -> Failure:
    """What it means that no complete answer came."""
    if isinstance(error, _NOT_SENT):
        message = f"not sent, no connection to {error.request.url.netloc.decode()}: {describe(error)}"
        return Failure(Outcome.NOT_SENT, ConnectionFailedError, message, cause=error)
    if isinstance(error, _INVALID):
        message = f"the request cannot be sent: {describe(error)}"
        return Failure(Outcome.REFUSED, InvalidRequestError, message, cause=error)
    if upload is not None and upload.error is not None:
        return Failure(Outcome.REFUSED, InvalidRequestError, str(upload.error), cause=upload.error)
    if upload is not None and not upload.sent_whole:
        message = f"the upload broke off: {describe(error)}"
        return Failure(Outcome.NOT_SENT, ConnectionFailedError, message, cause=error)
    message = (
        f"sent, but no complete answer came: {describe(error)}. It may have been billed, so it is not sent again; the "
        "provider's log (aimlapi-images logs, client.logs()) lists it under this order"
    )
    return Failure(Outcome.UNKNOWN, OutcomeUnknownError, message, cause=error)


def describe(error: Exception) -> str:
    """An exception's class and message; many of httpx's have no message."""
    message = shorten(str(error)) or next((words for kind, words in _WORDS.items() if isinstance(error, kind)), "")
    hint = _CERTIFICATE_HINT if "CERTIFICATE_VERIFY_FAILED" in message else ""
    return f"{type(error).__name__}: {message}".rstrip(": .") + hint
