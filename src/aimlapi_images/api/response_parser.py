"""One HTTP answer, read: the image it brings, or the error it means. No I/O here.

The generated parser is not used for this: it raises on statuses and bodies that a real proxy sends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import attrs

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
from aimlapi_images.spending import Usage, usage_of

_BODY_KEPT: Final = 2_000  # characters of a body that is not JSON
_BODY_SHOWN: Final = 200  # characters of a body in a message
_CONTENT_POLICY_CODES: Final = ("moderation_blocked", "content_policy_violation")
_MAYBE_BILLED: Final = "whether it was billed is unknown"
_PROXY_STATUSES: Final = (504, *range(520, 528), 530)
_MEANINGS: Final = {
    408: "the server gave up waiting for the request",
    413: "the request is too large",
    502: "bad gateway: the model's provider is unavailable",
    503: "service unavailable: the model's provider is unavailable",
    504: f"the generation took too long, and {_MAYBE_BILLED}",
    524: f"the proxy in front of the API gave up waiting (after about 100 s), and {_MAYBE_BILLED}",
}


@attrs.frozen
class HTTPAnswer:
    """Attributes:
    status: The HTTP status.
    headers: By name in lower case.
    body: Its beginning, decompressed, without images.
    document: The whole body, if it is JSON of a success: with a `Payload` for each image in it. Else `None`.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=lambda body: f"<{len(body):,} bytes>")
    document: object = attrs.field(default=None, repr=False)


@attrs.frozen
class ImageEntry:
    """One image of an answer: it has a `payload`, or a `url`, or both.

    Attributes:
        payload: Its bytes, if they came in the answer. With a problem, there is no `url`.
        url: Where to fetch it from.
        revised_prompt: The prompt as the provider rewrote it.
    """

    payload: Payload[Sink] | None = None
    url: str | None = None
    revised_prompt: str | None = None

    @property
    def broken(self) -> Payload[Sink] | None:
        """The payload, if it is no image, and there is nothing else."""
        return self.payload if self.payload is not None and self.payload.problem is not None else None


@attrs.frozen
class ImageAnswer:
    """What a successful answer brought: one image or more, which cost `usage` together."""

    usage: Usage
    entries: tuple[ImageEntry, ...]
    inference_id: str | None = None


def read_image_answer(answer: HTTPAnswer, *, order: str) -> ImageAnswer:
    """Read the answer to a request for images.

    Fields are judged by their value, not by their being there: empty and null are nothing.

    Raises:
        APIStatusError: The status is not one of success; the class follows the status.
        OutcomeUnknownError: The status says success, and the body is not the API's JSON.
        NoImageError: There is neither a payload nor a URL in it.
    """
    if not 200 <= answer.status < 300:
        raise status_error(answer, order=order)
    if answer.document is None:
        raise OutcomeUnknownError(
            f"HTTP {answer.status} with a body that is not the API's JSON ({_start(answer.body)}): {_MAYBE_BILLED}",
            order=order,
        )
    inference_id = answer.headers.get("x-inference-id")
    body = mapping(answer.document)
    entries = tuple(filter(None, (_entry(mapping(each)) for each in sequence(body.get("data")))))
    if not entries:
        said = _said_instead(answer.body)
        raise NoImageError(
            f"HTTP {answer.status} without an image in it: neither b64_json nor url has a value. It says: "
            f"{json.dumps(said, ensure_ascii=False)[:_BODY_SHOWN]}",
            inference_id=inference_id,
            body=said,
            order=order,
        )
    return ImageAnswer(usage=_usage(answer.headers, body), entries=entries, inference_id=inference_id)


def _entry(fields: Mapping[str, Any]) -> ImageEntry | None:
    """One entry of `data`, or `None` if it brings nothing."""
    found, url = fields.get("b64_json"), text(fields.get("url")) or None
    payload = found if isinstance(found, Payload) and (found.size or found.problem) else None
    if payload is not None and payload.problem and url:
        payload = None
    if payload is None and url is None:
        return None
    revised_prompt = fields.get("revised_prompt")
    return ImageEntry(payload, url, revised_prompt if isinstance(revised_prompt, str) else None)


def status_error(answer: HTTPAnswer, *, order: str | None = None) -> APIStatusError:
    """The error that an answer with a status other than success means."""
    body = _decoded(answer.body)
    fields = mapping(body)
    upstream = mapping(fields.get("error"))
    said = " ".join(filter(None, [text(fields.get("message")) or text(upstream.get("message")), _details(fields)]))
    context: dict[str, Any] = {
        "status": answer.status,
        "request_id": text(fields.get("requestId")) or None,
        "inference_id": answer.headers.get("x-inference-id"),
        "body": body,
        "retry_after": retry_after(answer.headers),
        "order": order,
    }
    message = said or _meaning(answer)
    return _error(answer, message, code=text(upstream.get("code")), context=context)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """How many seconds the server asks to wait: `retry-after-ms`, or `Retry-After` in seconds or as a date.

    Returns:
        Seconds, not negative; `None` if the headers do not say, or say nothing sensible.
    """
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return _not_negative(float(milliseconds) / 1000)
        text = headers.get("retry-after", "")
        try:
            return _not_negative(float(text))
        except ValueError:
            date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return _not_negative((date - (now or datetime.now(UTC))).total_seconds())


def _error(answer: HTTPAnswer, message: str, *, code: str, context: dict[str, Any]) -> APIStatusError:
    status, lower = answer.status, message.lower()
    if 400 <= status < 500 and any(each in (code, *lower.split()) for each in _CONTENT_POLICY_CODES):
        return ContentPolicyError(message, **context)
    match status:
        case 401:
            return AuthenticationError(message, **context)
        case 402:
            return InsufficientCreditsError(message, **context)
        case 403 if any(word in lower for word in ("credit", "balance", "top up")):
            return InsufficientCreditsError(message, **context)
        case 404:
            return NotFoundError(message, **context)
        case 429:
            return RateLimitError(message, **context)
        case _ if status in _PROXY_STATUSES:
            return ProxyTimeoutError(message, **context)
    return (ServerError if status >= 500 else APIStatusError)(message, **context)


def _meaning(answer: HTTPAnswer) -> str:
    """What an answer means that does not say so itself."""
    location = answer.headers.get("location")
    if 300 <= answer.status < 400 and location:
        return f"it leads to {location}, where a request with a key is not sent: is the base URL right?"
    unknown = answer.status > 503 or answer.status == 501
    return _MEANINGS.get(answer.status) or f"no message, but {_start(answer.body)}" + (
        f"; {_MAYBE_BILLED}" if unknown else ""
    )


def _details(fields: Mapping[str, Any]) -> str:
    """What the `meta` list of a validation error says, after its general message."""
    meta = fields.get("meta")
    return "; ".join(filter(None, (text(mapping(each).get("message")) for each in sequence(meta))))


def _usage(headers: Mapping[str, str], body: Mapping[str, Any]) -> Usage:
    stated = mapping(mapping(body.get("meta")).get("usage"))
    return usage_of(
        _cost(headers.get("x-aimlapi-credits-used"), stated.get("credits_used")),
        _cost(headers.get("x-aimlapi-usd-spent"), stated.get("usd_spent")),
    )


def _cost(*values: object) -> float | None:
    """The first of several statements that can be a cost."""
    return next((found for found in map(number, values) if found is not None and found >= 0), None)


def _not_negative(seconds: float) -> float | None:
    return None if seconds != seconds else max(0.0, seconds)


def _decoded(body: bytes) -> object:
    """A body as JSON, or the beginning of the text that came instead."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body[: 4 * _BODY_KEPT].decode("utf-8", "replace")[:_BODY_KEPT]


def _said_instead(body: bytes) -> object:
    """What an answer says that has no image in it."""
    said = _decoded(body)
    for entry in sequence(mapping(said).get("data")):
        if isinstance(entry, dict) and isinstance(entry.get("b64_json"), str):
            entry["b64_json"] = ""  # the decoder has put a number in its place
    return said


def _start(body: bytes) -> str:
    if not body:
        return "an empty body"
    return f"{len(body):,} bytes beginning {body[:40]!r}"
