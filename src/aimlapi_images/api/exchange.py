"""One HTTP exchange: a request goes out, and a whole answer comes back or the right error is raised."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

import httpx

from aimlapi_images.api.auth import BearerAuth
from aimlapi_images.api.response_parser import HTTPAnswer
from aimlapi_images.bodies import BodyGate, announced_length
from aimlapi_images.errors import (
    ConnectionFailedError,
    DecodeError,
    InvalidRequestError,
    OutcomeUnknownError,
)
from aimlapi_images.media.json_decoder import (
    MAX_BODY_BYTES,
    MAX_SKELETON_BYTES,
    BodyDecoder,
    BodyTooLargeError,
    NotJSONError,
)
from aimlapi_images.media.receiving import Sinks
from aimlapi_images.orders.uploads import UploadStream

# An error's words, and more than anybody reads.
_MAX_ERROR_BYTES: Final = 64 * 2**10
# An answer to a question about the account.
_MAX_PLAIN_BYTES: Final = 16 * 2**20

# Nothing of the request has left this machine.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_WORDS: Final = {
    httpx.ConnectTimeout: "nobody answered in time",
    httpx.ReadTimeout: "nothing came in time",
    httpx.WriteTimeout: "it could not be sent in time",
    httpx.NetworkError: "the connection broke",
}
_NOT_SENDABLE: Final = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)


async def exchange(
    http: httpx.AsyncClient,
    request: httpx.Request,
    auth: BearerAuth,
    *,
    order: str | None = None,
    sinks: Sinks | None = None,
    images: int = 1,
    gate: BodyGate | None = None,
) -> HTTPAnswer:
    """Send one request to the API and read its answer, whatever the status.

    Args:
        http: The client for the API.
        request: What to send.
        auth: The key.
        order: The order that it is for.
        sinks: Where images go that come in the answer; `None` if none are expected.
        images: How many may come: the answer may be larger by as many.
        gate: Lets bodies be received; `None` if it need not be asked.

    Raises:
        ConnectionFailedError: It was not sent, or not to the end of its upload.
        OutcomeUnknownError: It was sent, and no whole answer came.
        InvalidRequestError: It cannot be sent at all.
        DecodeError: The answer is larger than allowed.
    """
    upload = request.stream  # kept from here, since a mock transport replaces it
    try:
        response = await http.send(request, auth=auth, stream=True)
        try:
            return await _read(response, auth, sinks, images, gate or BodyGate())
        finally:
            await response.aclose()
    except _NOT_SENT as error:
        raise ConnectionFailedError(
            f"not sent, no connection to {request.url.netloc.decode()}: {describe(error)}", order=order
        ) from error
    except _NOT_SENDABLE as error:
        raise InvalidRequestError(f"the request cannot be sent: {describe(error)}", order=order) from error
    except httpx.RequestError as error:
        if isinstance(upload, UploadStream) and not upload.sent_whole:
            if upload.error is not None:  # aiohttp hides it
                raise upload.error from None
            raise ConnectionFailedError(
                f"the upload broke off before its end: {describe(error)}", order=order
            ) from error
        raise OutcomeUnknownError(
            f"sent, but no whole answer came: {describe(error)}. It may have been billed, so it is not sent again; "
            "the provider's log has it under this order",
            order=order,
        ) from error
    except RuntimeError as error:
        if not http.is_closed:
            raise
        raise InvalidRequestError("the client was closed before this order was sent", order=order) from error
    except BodyTooLargeError as error:
        raise DecodeError(f"the answer is too large: {error}", order=order) from error


async def _read(
    response: httpx.Response, auth: BearerAuth, sinks: Sinks | None, images: int, gate: BodyGate
) -> HTTPAnswer:
    # Servers repeat what they were sent.
    headers = {name: auth.redact(value.encode()).decode() for name, value in response.headers.items()}
    if not response.is_success:
        body = auth.redact(await _start(response))
        return HTTPAnswer(status=response.status_code, headers=headers, body=body)
    if sinks is not None:
        sinks.expected = announced_length(response) * 3 // 4  # base64, and little beside it
    decoder = BodyDecoder(
        (sinks or Sinks(None)).open,
        max_skeleton=MAX_SKELETON_BYTES if sinks else _MAX_PLAIN_BYTES,
        max_body=images * MAX_BODY_BYTES,
    )
    async with aclosing(gate.pieces(response)) as pieces:
        async for piece in pieces:
            decoder.feed(piece)
            if sinks is not None:
                await sinks.drain()
    if sinks is not None:
        sinks.expected = 0
    try:
        document = decoder.finish()
    except NotJSONError:
        document = None
    # What is around the images is redacted only if it is shown: if it is not what it should be.
    body = bytes(decoder.skeleton[:_MAX_ERROR_BYTES])
    return HTTPAnswer(status=response.status_code, headers=headers, body=auth.redact(body), document=document)


async def _start(response: httpx.Response) -> bytes:
    """The beginning of a body whose rest nobody reads."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) >= _MAX_ERROR_BYTES:
            break
    return bytes(body[:_MAX_ERROR_BYTES])


def describe(error: Exception) -> str:
    """An error's kind and what it says; many of httpx's say nothing."""
    said = str(error) or next((words for kind, words in _WORDS.items() if isinstance(error, kind)), "")
    return f"{type(error).__name__}: {said}".rstrip(": .")
