"""The exception tree.

ImageError
├── InvalidRequestError         refused here, before anything was sent (also a ValueError)
├── BudgetExceededError         not sent: the order would exceed the budget
├── ConnectionFailedError       not sent: no connection to the API
├── OutcomeUnknownError         sent, but no complete answer came back: it may have been billed
├── APIStatusError              the API answered with an error status
│   ├── AuthenticationError         401
│   ├── InsufficientCreditsError    402, or 403 for lack of credits
│   ├── ContentPolicyError          the prompt or image was refused by a content policy
│   ├── NotFoundError               404
│   ├── RateLimitError              429
│   └── ServerError                 5xx
│       └── ProxyTimeoutError           504, 520-527, 530 (also an OutcomeUnknownError)
├── NoImageError                the API reported success without an image
├── DecodeError                 the payload is not a valid image
├── DownloadError               the image is paid for, but its URL could not be fetched
├── DeadlineExceededError       the order's deadline passed (also a TimeoutError)
├── NotSavedError               the image is paid for, but could not be written to `to`
└── BatchError                  a batch cannot start or go on: its folder or its state cannot be used
"""

import copyreg
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aimlapi_images.models import GeneratedImage, LogEntry, Usage


class ImageError(Exception):
    """Base class of all errors of this package.

    Attributes:
        order: The id of the order that failed, or `None` if there was none yet.
        inference_id: The API's id of the request, if known. Quote it to the provider's support.
        may_be_billed: Whether the order was billed, or may have been. If not, it is safe to send it again.
        log: The provider's log entry for the last attempt, if the log was read and had one.
        images: Images from the same answer that did arrive, written to `to` where one was given.
        urls: URLs of paid images that were not fetched. They expire.
    """

    may_be_billed: bool = False

    def __init__(
        self,
        message: str,
        *,
        order: str | None = None,
        inference_id: str | None = None,
        may_be_billed: bool | None = None,
        log: "LogEntry | None" = None,
        images: "tuple[GeneratedImage, ...]" = (),
        urls: tuple[str, ...] = (),
        note: str = "",
    ) -> None:
        super().__init__(message + note)
        self.order = order
        self.inference_id = inference_id
        if may_be_billed is not None:
            self.may_be_billed = may_be_billed
        self.log = log
        self.images = images
        self.urls = urls

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} (order {self.order})" if self.order else message

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with `args` alone, without the keyword-only arguments.
        return copyreg.__newobj__, (type(self),), {**vars(self), "args": self.args}  # type: ignore[attr-defined]


class InvalidRequestError(ImageError, ValueError):
    """The request is invalid and was not sent. Nothing was billed."""


class BudgetExceededError(ImageError):
    """The order would exceed the budget and was not sent. Nothing was billed."""


class ConnectionFailedError(ImageError):
    """The request was not sent: connecting failed, or an upload broke off. Nothing was billed."""


class OutcomeUnknownError(ImageError):
    """The request was sent, but no complete answer came back. It may have been billed.

    Sending it again may bill it again. The provider's log lists the request under the order's id.
    """

    may_be_billed = True


class APIStatusError(ImageError):
    """The API answered with an error status.

    Attributes:
        status: The HTTP status.
        message: The API's message, or the meaning of the status if there was no readable message.
        request_id: `requestId` of the error body, if present.
        body: The error body: decoded JSON, or the beginning of the text otherwise.
        retry_after: Seconds to wait as the API asked, or `None`.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        request_id: str | None = None,
        body: object = None,
        retry_after: float | None = None,
        **context: Any,
    ) -> None:
        super().__init__(f"HTTP {status}: {message}", **context)
        self.status = status
        self.message = message
        self.request_id = request_id
        self.body = body
        self.retry_after = retry_after


class AuthenticationError(APIStatusError):
    """401: the key is missing, wrong or expired."""


class InsufficientCreditsError(APIStatusError):
    """402, or a 403 whose message mentions credits: none are left."""


class ContentPolicyError(APIStatusError):
    """The prompt, or the image made from it, was refused by a content policy."""


class NotFoundError(APIStatusError):
    """404: there is no such endpoint or model."""


class RateLimitError(APIStatusError):
    """429: too many requests, or the free tier's hourly limit.

    Raised only when waiting is pointless: the API asks for too long a wait, or the hourly limit is reached.
    Otherwise the order waits and is sent again.
    """


class ServerError(APIStatusError):
    """5xx: the API or the model's provider failed.

    The API's own 500, 502 and 503 are documented as not billed. A proxy's may hide an order that was accepted, so
    `may_be_billed` is true for them, and for any other status.
    """

    def __init__(self, message: str, *, status: int, **context: Any) -> None:
        context.setdefault("may_be_billed", status not in (500, 502, 503))
        super().__init__(message, status=status, **context)


class ProxyTimeoutError(ServerError, OutcomeUnknownError):
    """504, 520-527 or 530: a proxy gave up waiting for the API. The order may have been billed."""


class NoImageError(ImageError):
    """The API reported success, but its answer contains no image.

    Attributes:
        body: The answer: decoded JSON, or the beginning of the text otherwise.
    """

    may_be_billed = True

    def __init__(self, message: str, *, body: object = None, **context: Any) -> None:
        super().__init__(message, **context)
        self.body = body


class DecodeError(ImageError):
    """The payload is not a valid image, or exceeds a size limit.

    Attributes:
        data: The bytes that arrived, base64-decoded as far as possible. Empty if a size limit was exceeded.
        url: The URL they came from; `None` if they came in the answer itself.
    """

    may_be_billed = True

    def __init__(self, message: str, *, data: bytes = b"", url: str | None = None, **context: Any) -> None:
        super().__init__(message, **context)
        self.data = data
        self.url = url


class DownloadError(ImageError):
    """The image was generated and paid for, but its URL could not be fetched.

    Fetch `url` again soon, as these URLs expire. Generating again would be billed again.

    Attributes:
        url: The image's URL. `urls` lists it together with those of other images that are missing.
        data: The longest part of the image that arrived in any try.
        usage: The cost of the order.
    """

    may_be_billed = True

    def __init__(
        self, message: str, *, url: str, data: bytes = b"", usage: "Usage | None" = None, **context: Any
    ) -> None:
        super().__init__(message, **context)
        self.url = url
        self.data = data
        self.usage = usage


class DeadlineExceededError(ImageError, TimeoutError):
    """The order's deadline passed.

    Attributes:
        phase: What the order was doing: `queue` (waiting for its turn), `request` (waiting for the API),
            `backoff` (waiting before another attempt), `log` (waiting for the provider's log entry),
            `observer` (waiting for the observer of a paid image) or `download` (fetching it).
        url: The URL of the image, if the API sent one. `urls` lists those of other images as well.
    """

    def __init__(self, message: str, *, phase: str, **context: Any) -> None:
        super().__init__(message, **context)
        self.phase = phase
        self.url: str | None = self.urls[0] if self.urls else None


class NotSavedError(ImageError):
    """The image was generated and paid for, but could not be written to the path given as `to`.

    Attributes:
        image: The image: `await error.image.save(elsewhere)`.
    """

    may_be_billed = True

    def __init__(self, message: str, *, image: "GeneratedImage", **context: Any) -> None:
        super().__init__(message, **context)
        self.image = image


class BatchError(ImageError):
    """A batch cannot start or go on: its folder or its state cannot be used. What is known is kept."""
