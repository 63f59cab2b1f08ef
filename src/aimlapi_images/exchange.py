"""One HTTP exchange: a request goes out, and a whole answer comes back or the right error is raised."""

from __future__ import annotations

from typing import Final

import httpx

from aimlapi_images.auth import BearerAuth
from aimlapi_images.errors import (
    ConnectionFailedError,
    DecodeError,
    InvalidRequestError,
    OutcomeUnknownError,
)
from aimlapi_images.responses import HTTPAnswer

# A 64 MiB image as base64, and room for the JSON around it.
MAX_ANSWER_BYTES: Final = 96 * 2**20

# Nothing of the request has left this machine.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_NOT_SENDABLE: Final = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)


class BodyTooLargeError(Exception):
    """A body went on beyond its limit."""


async def exchange(http: httpx.AsyncClient, request: httpx.Request, auth: BearerAuth, *, order: str) -> HTTPAnswer:
    """Send one request to the API and read its answer, whatever the status.

    Raises:
        ConnectionFailedError: It was not sent, or not to the end of its upload.
        OutcomeUnknownError: It was sent, and no whole answer came.
        InvalidRequestError: It cannot be sent at all.
        DecodeError: The answer is larger than `MAX_ANSWER_BYTES`.
    """
    try:
        response = await http.send(request, auth=auth, stream=True)
        try:
            body = bytes(await read_body(response, MAX_ANSWER_BYTES, into=bytearray()))
        finally:
            await response.aclose()
    except _NOT_SENT as error:
        raise ConnectionFailedError(
            f"not sent, no connection to {request.url.netloc.decode()}: {describe(error)}", order=order
        ) from error
    except _NOT_SENDABLE as error:
        raise InvalidRequestError(f"the request cannot be sent: {describe(error)}", order=order) from error
    except httpx.RequestError as error:
        upload = request.extensions.get("upload")
        if upload is not None and not upload.handed_over:
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
    # Servers repeat what they were sent. An image's own answer is left as it is.
    headers = {name: auth.redact(value.encode()).decode() for name, value in response.headers.items()}
    if not response.is_success or not body.lstrip().startswith(b"{"):
        body = auth.redact(body)
    return HTTPAnswer(status=response.status_code, headers=headers, body=body)


async def read_body(response: httpx.Response, limit: int, *, into: bytearray) -> bytearray:
    """Read a streamed body to its end, decompressed. What came before an error stays in `into`.

    Raises:
        BodyTooLargeError: There would be more than `limit` bytes.
    """
    async for chunk in response.aiter_bytes():
        into += chunk
        if len(into) > limit:
            raise BodyTooLargeError(f"more than {limit:,} bytes")
    return into


def describe(error: Exception) -> str:
    """An error's kind and what it says; many of httpx's say nothing."""
    return f"{type(error).__name__}: {error}".rstrip(": .")
