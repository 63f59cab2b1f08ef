"""Read one HTTP answer: the images it brings, or the failure it means. No I/O.

The generated parser is not used here: it raises on statuses and bodies that real proxies send.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import attrs

from aimlapi_images.api.outcome import Failure, Outcome
from aimlapi_images.errors import (
    APIStatusError,
    AuthenticationError,
    ContentPolicyError,
    InsufficientCreditsError,
    NoImageError,
    NotFoundError,
    OutcomeUnknownError,
    ProxyTimeoutError,
    RateLimitError,
    ServerError,
)
from aimlapi_images.media.formats import Payload
from aimlapi_images.media.image_finder import ImageEntry, find_images
from aimlapi_images.media.json_values import mapping, number, parsed, sequence, shorten, text
from aimlapi_images.models import Usage

_MAX_BODY_KEPT: Final = 2_000  # characters of a body that is not JSON
_MAX_MESSAGE: Final = 1_000  # characters of what the API says in a message
_CONTENT_POLICY_CODES: Final = ("moderation_blocked", "content_policy_violation")
_MAYBE_BILLED: Final = "whether it was billed is unknown"
_ERROR_TYPES: Final[Mapping[int, type[APIStatusError]]] = {
    401: AuthenticationError,
    402: InsufficientCreditsError,
    404: NotFoundError,
    429: RateLimitError,
    **dict.fromkeys((504, *range(520, 528), 530), ProxyTimeoutError),
}
_NOT_BILLED: Final = (500, 502, 503)  # documented
_MEANINGS: Final = {
    407: "a proxy on the way asks for a login",
    408: "the server gave up waiting for the request",
    413: "the request is too large",
    502: "bad gateway: the API or the model's provider cannot be reached",
    503: "service unavailable: the API or the model's provider cannot be reached",
    504: "the generation took too long",
    524: "the proxy in front of the API gave up waiting (after about 100 s)",
}


@attrs.frozen
class HTTPAnswer:
    """A complete answer. Its body is the beginning, decompressed, without image payloads."""

    status: int
    headers: Mapping[str, str]  # by lower-case name
    body: bytes = attrs.field(repr=lambda body: f"<{len(body):,} bytes>")
    document: object = attrs.field(default=None, repr=False)  # the JSON body of a success
    payloads: Mapping[str, Payload] = attrs.field(factory=dict, repr=False)  # by the names of images in the document


@attrs.frozen
class ImageAnswer:
    """A successful answer: one or more images, which cost `usage` together."""

    usage: Usage = attrs.field(factory=Usage)
    entries: tuple[ImageEntry, ...] = ()
    inference_id: str | None = None


def read_image_answer(answer: HTTPAnswer) -> ImageAnswer | Failure:
    """Read the answer to an order."""
    if not 200 <= answer.status < 300:
        return status_failure(answer)
    inference_id = answer.headers.get("x-inference-id")
    is_json = answer.document is not None
    entries = find_images(answer.document if is_json else answer.body.decode("utf-8", "replace"), answer.payloads)
    if entries:
        return ImageAnswer(_usage(answer.headers, mapping(answer.document)), entries, inference_id)
    if not is_json:
        message = f"HTTP {answer.status} with a body that is not JSON ({_start(answer.body)}): {_MAYBE_BILLED}"
        return Failure(Outcome.UNKNOWN, OutcomeUnknownError, message)
    received = _decoded(answer.body)
    shown = shorten(json.dumps(received, ensure_ascii=False))
    message = f"HTTP {answer.status} without an image: neither b64_json nor url has a value. Received: {shown}"
    details = {"inference_id": inference_id, "body": received}
    return Failure(Outcome.UNKNOWN, NoImageError, message, details=details)


def status_failure(answer: HTTPAnswer) -> Failure:
    """Read an answer with an error status."""
    body = _decoded(answer.body)
    fields = mapping(body)
    upstream = mapping(fields.get("error"))
    details = "; ".join(filter(None, (text(mapping(each).get("message")) for each in sequence(fields.get("meta")))))
    stated = " ".join(filter(None, [text(fields.get("message")) or text(upstream.get("message")), details]))
    error_type = _error_type(answer.status, stated.lower(), text(upstream.get("code")))
    wait = retry_after(answer.headers)
    from_api = bool(fields) or "x-inference-id" in answer.headers
    outcome = _outcome(error_type, answer.status, wait, from_api=from_api)
    note = f" (it asks to wait for {wait:,.0f} s)" if wait and outcome is Outcome.LATER else ""
    if outcome is Outcome.UNKNOWN and not stated:
        note = f", and {_MAYBE_BILLED}"
    message = shorten(stated, _MAX_MESSAGE) or _meaning(answer)
    context = {
        "status": answer.status,
        "request_id": text(fields.get("requestId")) or None,
        "inference_id": answer.headers.get("x-inference-id"),
        "body": body,
        "retry_after": wait,
    }
    return Failure(outcome, error_type, message, note, context, retry_after=wait)


def _error_type(status: int, message: str, code: str) -> type[APIStatusError]:
    if 400 <= status < 500 and any(each in (code, *message.split()) for each in _CONTENT_POLICY_CODES):
        return ContentPolicyError
    if status == 403 and any(word in message for word in ("credit", "balance", "top up")):
        return InsufficientCreditsError
    return _ERROR_TYPES.get(status) or (ServerError if status >= 500 else APIStatusError)


def _outcome(error_type: type[APIStatusError], status: int, wait: float | None, *, from_api: bool) -> Outcome:
    """What a status means for the bill.

    That 500, 502 and 503 are not billed is the API's promise. A proxy sends the same statuses when the API broke off
    after it had accepted the order, so the answer has to show that it is the API's.
    """
    if error_type is RateLimitError:
        return Outcome.LATER
    if not issubclass(error_type, ServerError):
        return Outcome.REFUSED
    if status not in _NOT_BILLED or not from_api:
        return Outcome.UNKNOWN
    return Outcome.LATER if status == 503 and wait is not None else Outcome.FAILED


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait, by `retry-after-ms`, or by `Retry-After` in seconds or as an HTTP date; `None` if malformed."""
    value, milliseconds = headers.get("retry-after", ""), headers.get("retry-after-ms")
    try:
        seconds = float(milliseconds or value) / (1000 if milliseconds else 1)
    except ValueError:
        try:
            date = parsedate_to_datetime("" if milliseconds else value)
            date = date if date.tzinfo else date.replace(tzinfo=UTC)
            seconds = (date - (now or datetime.now(UTC))).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if seconds == seconds else None


def _meaning(answer: HTTPAnswer) -> str:
    """The meaning of a status without a readable message."""
    location = answer.headers.get("location")
    if 300 <= answer.status < 400 and location:
        return f"it redirects to {shorten(location)}, and the key is not sent there: is the base URL right?"
    return _MEANINGS.get(answer.status) or f"no message, but {_start(answer.body)}"


def _usage(headers: Mapping[str, str], body: Mapping[str, Any]) -> Usage:
    stated = mapping(mapping(body.get("meta")).get("usage"))
    return Usage.from_costs(
        _cost(headers.get("x-aimlapi-credits-used"), stated.get("credits_used")),
        _cost(headers.get("x-aimlapi-usd-spent"), stated.get("usd_spent")),
    )


def _cost(*values: object) -> float | None:
    """The first value that can be a cost."""
    return next((found for found in map(number, values) if found is not None and found >= 0), None)


def _decoded(body: bytes) -> object:
    """A body as JSON, or the beginning of its text."""
    document = parsed(body)
    return body[: 4 * _MAX_BODY_KEPT].decode("utf-8", "replace")[:_MAX_BODY_KEPT] if document is None else document


def _start(body: bytes) -> str:
    return f"{len(body):,} bytes beginning with {body[:40]!r}" if body else "an empty body"
