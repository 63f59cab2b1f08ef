"""Read one HTTP answer: the images it brings, or the failure it means. No I/O.

The generated parser is not used here: it raises on statuses and bodies that real proxies send.
"""

from __future__ import annotations

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
from aimlapi_images.media.base64_decoder import Payload
from aimlapi_images.media.json_values import mapping, number, sequence, text
from aimlapi_images.media.sinks import Sink
from aimlapi_images.models import Usage

_MAX_BODY_KEPT: Final = 2_000  # characters of a body that is not JSON
_MAX_BODY_SHOWN: Final = 200  # characters of a body in a message
_CONTENT_POLICY_CODES: Final = ("moderation_blocked", "content_policy_violation")
_MAYBE_BILLED: Final = "whether it was billed is unknown"
_PROXY_STATUSES: Final = (504, *range(520, 528), 530)
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
    """A complete answer.

    Attributes:
        status: The HTTP status.
        headers: Headers by lower-case name.
        body: The beginning of the body, decompressed, without image payloads.
        document: The JSON body of a success, with a `Payload` for each image in it; `None` if it is not JSON.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=lambda body: f"<{len(body):,} bytes>")
    document: object = attrs.field(default=None, repr=False)


@attrs.frozen
class ImageEntry:
    """One image of an answer. It has a `payload`, a `url`, or both. A broken payload is kept only without a URL."""

    payload: Payload[Sink] | None = None
    url: str | None = None
    revised_prompt: str | None = None

    @property
    def broken(self) -> bool:
        """Whether the payload is invalid base64, and there is no URL either."""
        return self.payload is not None and self.payload.problem is not None


@attrs.frozen
class ImageAnswer:
    """A successful answer: one or more images, which cost `usage` together."""

    usage: Usage
    entries: tuple[ImageEntry, ...]
    inference_id: str | None = None


def read_image_answer(answer: HTTPAnswer) -> ImageAnswer | Failure:
    """Read the answer to an order.

    Fields are judged by value: empty strings and null read as missing.
    """
    if not 200 <= answer.status < 300:
        return status_failure(answer)
    if answer.document is None:
        message = f"HTTP {answer.status} with a body that is not JSON ({_start(answer.body)}): {_MAYBE_BILLED}"
        return Failure(outcome=Outcome.UNKNOWN, error_type=OutcomeUnknownError, message=message)
    inference_id = answer.headers.get("x-inference-id")
    body = mapping(answer.document)
    entries = tuple(filter(None, (_entry(mapping(each)) for each in sequence(body.get("data")))))
    if not entries:
        received = _without_payloads(answer.body)
        shown = json.dumps(received, ensure_ascii=False)[:_MAX_BODY_SHOWN]
        return Failure(
            outcome=Outcome.UNKNOWN,
            error_type=NoImageError,
            message=f"HTTP {answer.status} without an image: neither b64_json nor url has a value. Received: {shown}",
            details={"inference_id": inference_id, "body": received},
        )
    return ImageAnswer(usage=_usage(answer.headers, body), entries=entries, inference_id=inference_id)


def _entry(fields: Mapping[str, Any]) -> ImageEntry | None:
    """One entry of `data`, or `None` if it has neither a payload nor a URL."""
    found, url = fields.get("b64_json"), text(fields.get("url")) or None
    payload = found if isinstance(found, Payload) and (found.size or found.problem) else None
    if payload is not None and payload.problem and url:
        payload = None
    if payload is None and url is None:
        return None
    revised_prompt = fields.get("revised_prompt")
    return ImageEntry(payload, url, revised_prompt if isinstance(revised_prompt, str) else None)


def status_failure(answer: HTTPAnswer) -> Failure:
    """Read an answer with an error status."""
    body = _decoded(answer.body)
    fields = mapping(body)
    upstream = mapping(fields.get("error"))
    stated = " ".join(filter(None, [text(fields.get("message")) or text(upstream.get("message")), _details(fields)]))
    error_type = _error_type(answer.status, stated.lower(), text(upstream.get("code")))
    wait = retry_after(answer.headers)
    from_api = bool(fields) or "x-inference-id" in answer.headers
    outcome = _outcome(error_type, answer.status, wait, from_api=from_api)
    note = f" (it asks to wait for {wait:,.0f} s)" if wait and outcome is Outcome.LATER else ""
    if outcome is Outcome.UNKNOWN and not stated:
        note = f", and {_MAYBE_BILLED}"
    return Failure(
        outcome=outcome,
        error_type=error_type,
        message=stated or _meaning(answer),
        note=note,
        details={
            "status": answer.status,
            "request_id": text(fields.get("requestId")) or None,
            "inference_id": answer.headers.get("x-inference-id"),
            "body": body,
            "retry_after": wait,
        },
        retry_after=wait,
    )


def _error_type(status: int, message: str, code: str) -> type[APIStatusError]:
    if 400 <= status < 500 and any(each in (code, *message.split()) for each in _CONTENT_POLICY_CODES):
        return ContentPolicyError
    match status:
        case 401:
            return AuthenticationError
        case 402:
            return InsufficientCreditsError
        case 403 if any(word in message for word in ("credit", "balance", "top up")):
            return InsufficientCreditsError
        case 404:
            return NotFoundError
        case 429:
            return RateLimitError
        case _ if status in _PROXY_STATUSES:
            return ProxyTimeoutError
    return ServerError if status >= 500 else APIStatusError


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
    """Read `retry-after-ms`, or `Retry-After` in seconds or as an HTTP date.

    Returns:
        Seconds to wait, 0 or more; `None` if the headers do not say, or are malformed.
    """
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return _not_negative(float(milliseconds) / 1000)
        value = headers.get("retry-after", "")
        try:
            return _not_negative(float(value))
        except ValueError:
            date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return _not_negative((date - (now or datetime.now(UTC))).total_seconds())


def _meaning(answer: HTTPAnswer) -> str:
    """The meaning of a status without a readable message."""
    location = answer.headers.get("location")
    if 300 <= answer.status < 400 and location:
        return f"it redirects to {location}, and the key is not sent there: is the base URL right?"
    return _MEANINGS.get(answer.status) or f"no message, but {_start(answer.body)}"


def _details(fields: Mapping[str, Any]) -> str:
    """The messages in the `meta` list of a validation error."""
    return "; ".join(filter(None, (text(mapping(each).get("message")) for each in sequence(fields.get("meta")))))


def _usage(headers: Mapping[str, str], body: Mapping[str, Any]) -> Usage:
    stated = mapping(mapping(body.get("meta")).get("usage"))
    return Usage.from_costs(
        _cost(headers.get("x-aimlapi-credits-used"), stated.get("credits_used")),
        _cost(headers.get("x-aimlapi-usd-spent"), stated.get("usd_spent")),
    )


def _cost(*values: object) -> float | None:
    """The first value that can be a cost."""
    return next((found for found in map(number, values) if found is not None and found >= 0), None)


def _not_negative(seconds: float) -> float | None:
    return None if seconds != seconds else max(0.0, seconds)


def _decoded(body: bytes) -> object:
    """A body as JSON, or the beginning of its text."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body[: 4 * _MAX_BODY_KEPT].decode("utf-8", "replace")[:_MAX_BODY_KEPT]


def _without_payloads(body: bytes) -> object:
    """An answer that contains no image, as received."""
    received = _decoded(body)
    for entry in sequence(mapping(received).get("data")):
        if isinstance(entry, dict) and isinstance(entry.get("b64_json"), str):
            entry["b64_json"] = ""  # the decoder left an index in its place
    return received


def _start(body: bytes) -> str:
    return f"{len(body):,} bytes beginning with {body[:40]!r}" if body else "an empty body"
