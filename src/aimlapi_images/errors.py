"""Everything that can go wrong with an order, as one tree.

ImageError
├── InvalidRequestError         refused here, before anything was sent (also a ValueError)
├── BudgetExceededError         not sent: it would have cost more than the budget has left
├── ConnectionFailedError       not sent: nobody answered at the address
├── OutcomeUnknownError         sent, but no whole answer came back: it may have been billed
├── APIStatusError              the API answered with an error status
│   ├── AuthenticationError         401
│   ├── InsufficientCreditsError    402, or 403 for want of credits
│   ├── ContentPolicyError          the prompt was refused by a content policy
│   ├── NotFoundError               404
│   ├── RateLimitError              429
│   └── ServerError                 5xx
│       └── ProxyTimeoutError           504, 520-527, 530 (also an OutcomeUnknownError)
├── NoImageError                the API said yes, and sent no image
├── DecodeError                 what came is not an image
├── DownloadError               the image is paid for, and could not be fetched from its URL
├── DeadlineExceededError       the order's time was up (also a TimeoutError)
└── NotSavedError               the image is here, and could not be written to the path given
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aimlapi_images.account import LogEntry
    from aimlapi_images.models import GeneratedImage
    from aimlapi_images.spending import Usage


class ImageError(Exception):
    """The root of the tree.

    Attributes:
        order: The id of the order that failed, or `None` where it never became one.
        inference_id: The API's id of the request, to ask the provider about it, if it is known.
        may_be_billed: Whether the order may cost something, or is known to. If not, it can be given again.
        log: What the provider's log says of the last attempt, if it was asked and knew it.
        images: What the same answer brought beside what went wrong, whole; written to the path given, if there is one.
        urls: Where further images of it are, that are paid for and were not fetched. These URLs expire.
    """

    may_be_billed: bool = False
    log: LogEntry | None = None
    images: tuple[GeneratedImage, ...] = ()
    urls: tuple[str, ...] = ()

    def __init__(self, message: str, *, order: str | None = None, inference_id: str | None = None) -> None:
        super().__init__(message)
        self.order = order
        self.inference_id = inference_id

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} (order {self.order})" if self.order else message

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with `args` alone, which leaves out the keyword-only ones.
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(cls: type[ImageError], args: tuple[Any, ...], state: dict[str, Any]) -> ImageError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class InvalidRequestError(ImageError, ValueError):
    """The request cannot be right, and was not sent. Nothing was billed."""


class BudgetExceededError(ImageError):
    """The order was not sent: it would have cost more than the budget has left. Nothing was billed."""


class ConnectionFailedError(ImageError):
    """The request was not sent: no connection to the API could be made, or an upload broke off. Nothing was billed."""


class OutcomeUnknownError(ImageError):
    """The request was sent, and no whole answer came back. It may have been billed.

    Sending it again may bill it again. The provider's log knows the request by the order's id.
    """

    may_be_billed = True


class APIStatusError(ImageError):
    """The API answered with an error status.

    Attributes:
        status: The HTTP status.
        message: What the API said, or what the status means where it said nothing readable.
        request_id: `requestId` of the error body, if there was one.
        body: The error body: decoded JSON, or the beginning of the text that came instead.
        retry_after: Seconds to wait as the API asked, or `None` if it did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        request_id: str | None = None,
        inference_id: str | None = None,
        body: object = None,
        retry_after: float | None = None,
        order: str | None = None,
    ) -> None:
        super().__init__(f"HTTP {status}: {message}", order=order, inference_id=inference_id)
        self.status = status
        self.message = message
        self.request_id = request_id
        self.body = body
        self.retry_after = retry_after


class AuthenticationError(APIStatusError):
    """401: the key is missing, wrong or expired."""


class InsufficientCreditsError(APIStatusError):
    """402, or 403 that speaks of credits: there are none left."""


class ContentPolicyError(APIStatusError):
    """The prompt, or the image made of it, was refused by a content policy."""


class NotFoundError(APIStatusError):
    """404: there is no such endpoint or model."""


class RateLimitError(APIStatusError):
    """429: too many requests at once, or the free tier's limit for the hour.

    Raised only when there is no point in waiting: the API asks for too long a wait, or the hour's limit is
    reached. Otherwise the order waits, and goes on.
    """


class ServerError(APIStatusError):
    """5xx: the API or the model's provider failed. Documented as not billed for 500, 502 and 503 alone."""

    def __init__(self, message: str, *, status: int, **context: Any) -> None:
        super().__init__(message, status=status, **context)
        self.may_be_billed = status not in (500, 502, 503)


class ProxyTimeoutError(ServerError, OutcomeUnknownError):
    """504, 520-527 or 530: a proxy on the way gave up on the API. It may have been billed.

    The generation went on, perhaps: it is an `OutcomeUnknownError`, too.
    """


class NoImageError(ImageError):
    """The API reported success, and its answer has no image in it.

    Attributes:
        body: What the answer says instead, as in `APIStatusError`.
    """

    may_be_billed = True

    def __init__(
        self, message: str, *, inference_id: str | None = None, body: object = None, order: str | None = None
    ) -> None:
        super().__init__(message, order=order, inference_id=inference_id)
        self.body = body


class DecodeError(ImageError):
    """What came as an image is none, or is larger than allowed.

    Attributes:
        data: What came in place of an image, base64 decoded as far as it is right; empty if it was more than is
            read.
        url: Where it came from, if it did not come in the answer itself.
    """

    may_be_billed = True

    def __init__(
        self,
        message: str,
        *,
        data: bytes = b"",
        url: str | None = None,
        inference_id: str | None = None,
        order: str | None = None,
    ) -> None:
        super().__init__(message, order=order, inference_id=inference_id)
        self.data = data
        self.url = url


class DownloadError(ImageError):
    """The image was generated and paid for, and its URL could not be fetched.

    Fetch `url` again, soon: these URLs expire. Generating again would be billed again.

    Attributes:
        url: Where the image is; `urls` has those of the others, too.
        usage: What the order cost.
    """

    may_be_billed = True

    def __init__(
        self,
        message: str,
        *,
        url: str,
        usage: Usage | None = None,
        inference_id: str | None = None,
        order: str | None = None,
    ) -> None:
        super().__init__(message, order=order, inference_id=inference_id)
        self.url = url
        self.urls = (url,)
        self.usage = usage


class DeadlineExceededError(ImageError, TimeoutError):
    """The order's time was up. `may_be_billed` says whether it was on its way by then.

    Attributes:
        phase: What it was doing: `queue` (waiting for its turn), `request` (waiting for the API), `backoff`
            (waiting to try again), `log` (waiting for the provider's log to tell of it), `observer` (waiting for
            it to note an image that is paid for) or `download` (fetching it).
        url: Where the image is, if the API said so; `urls` has those of the others, too.
    """

    def __init__(self, message: str, *, phase: str, may_be_billed: bool, urls: tuple[str, ...], order: str) -> None:
        super().__init__(message, order=order)
        self.phase = phase
        self.may_be_billed = may_be_billed
        self.url = urls[0] if urls else None
        self.urls = urls


class NotSavedError(ImageError):
    """The image was generated, and could not be written to the path given with `to`.

    Attributes:
        image: The whole image: `await error.image.save(elsewhere)`.
    """

    may_be_billed = True

    def __init__(self, message: str, *, image: GeneratedImage, order: str | None = None) -> None:
        super().__init__(message, order=order)
        self.image = image
