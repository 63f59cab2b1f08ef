"""The faults that the emulator can make. This table is the source of the command's help, the docs and the plugin."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import attrs

from aimlapi_images.errors import InvalidRequestError


class Meaning(enum.Enum):
    """What a fault means to a client."""

    REFUSED = "refused"
    """The order is refused, and would be refused again."""

    LATER = "later"
    """Not accepted now. Wait, then send it again."""

    FAILED = "failed"
    """Failed and not billed. Safe to send again."""

    UNKNOWN = "unknown"
    """The client cannot know whether it was billed. Not to be sent again unasked."""

    PAID = "paid"
    """Billed, and the image does not arrive. Ordering it again would bill twice."""

    DELIVERED = "delivered"
    """Billed, and a careful client gets the image all the same."""


@attrs.frozen
class Fault:
    """One kind of fault.

    Attributes:
        kind: Its name.
        meaning: What it means to a client.
        accepted: Whether the order is accepted and takes its time; otherwise it is answered at once.
        billed: Whether the order is billed.
        happens: What the emulator does.
        client: What a client should do.
    """

    kind: str
    meaning: Meaning
    accepted: bool
    billed: bool
    happens: str
    client: str


def _table(meaning: Meaning, *, accepted: bool, billed: bool, **rows: tuple[str, str]) -> Iterable[Fault]:
    return [Fault(kind, meaning, accepted, billed, happens, client) for kind, (happens, client) in rows.items()]


_ALL: Final = (
    *_table(
        Meaning.REFUSED,
        accepted=False,
        billed=False,
        content_policy=(
            "400 in the form of the OpenAI API, with the code moderation_blocked",
            "report the prompt; do not send it again",
        ),
        out_of_credits=("403, the balance is spent", "stop all orders"),
        free_tier=("429, the free limit for the hour is reached", "stop: it lasts up to an hour"),
    ),
    *_table(
        Meaning.LATER,
        accepted=False,
        billed=False,
        rate_limited=("429, with Retry-After if that is set", "wait, slow down, send it again"),
    ),
    *_table(
        Meaning.FAILED,
        accepted=False,
        billed=False,
        maintenance=("500, the model is under maintenance", "send it again, a few times and slowly"),
        bad_gateway=("502 from the API itself, in JSON", "send it again, a few times"),
        unavailable=("503 from the API itself, in JSON", "send it again, a few times"),
    ),
    *_table(
        Meaning.FAILED,
        accepted=True,
        billed=False,
        server_error=("500 when the generation fails", "send it again, a few times"),
    ),
    *_table(
        Meaning.UNKNOWN,
        accepted=False,
        billed=False,
        dropped_before=("the connection closes before the order is accepted", "look it up in the log"),
    ),
    *_table(
        Meaning.UNKNOWN,
        accepted=True,
        billed=True,
        dropped_after=("the connection closes after the generation, without an answer", "look it up in the log"),
        proxy_error=("502 as an HTML page of a proxy, after the generation", "look it up in the log"),
        gateway_timeout=("504 'Generation timeout', after the generation", "look it up in the log"),
        proxy_timeout=("524 as an HTML page of a proxy, after the generation", "look it up in the log"),
        cut_body=("the connection closes in the middle of the answer", "look it up in the log"),
    ),
    *_table(
        Meaning.PAID,
        accepted=True,
        billed=True,
        empty_data=("200 with an empty list of images", "report it; write no empty file"),
        invalid_base64=("200 with text that is not base64", "report it; write no file"),
        truncated_base64=("200 with base64 that ends too early", "report it; half an image is not an image"),
        truncated_image=("200 with base64 of half an image file", "report it; half an image is not an image"),
        expired_url=("the image's URL answers 404", "report the URL; do not order again"),
        private_redirect=("the image's URL redirects to a private address", "do not follow; report the URL"),
    ),
    *_table(
        Meaning.DELIVERED,
        accepted=True,
        billed=True,
        null_fields=("200 with null in every field but the image's", "take the image; the cost is unknown"),
        slow_drip=("the answer arrives in small pieces over 10 s", "read on: the deadline decides"),
        wrong_format=("the image has another format than requested", "name the file after its bytes"),
        late_url=("the image's URL answers 404 twice, then the image", "fetch it again after a while"),
        image_cut=("the image host breaks off half-way, the first time", "fetch it again"),
        slow_image_host=("the image host waits for 10 s before it answers", "wait, or fetch it again"),
    ),
)

FAULTS: Final[Mapping[str, Fault]] = MappingProxyType({fault.kind: fault for fault in _ALL})
"""All faults by kind."""


def fault(kind: str) -> Fault:
    """The fault of a kind.

    Raises:
        InvalidRequestError: There is no such kind.
    """
    if kind not in FAULTS:
        raise InvalidRequestError(f"there is no fault {kind!r}; the kinds are {', '.join(FAULTS)}")
    return FAULTS[kind]


def parse_rate(text: str) -> tuple[str, float]:
    """Parse `KIND:RATE`, such as `rate_limited:0.1`.

    Raises:
        InvalidRequestError: It is not of that form, or there is no such kind.
    """
    kind, separator, rate = text.partition(":")
    try:
        number = float(rate) if separator else 1.0
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise InvalidRequestError(f"{text!r} is not KIND:RATE with a rate from 0 to 1, such as rate_limited:0.1")
    return fault(kind).kind, number


def table() -> str:
    """All faults as a Markdown table: kind, what happens, what a client should do, and whether it is billed."""
    rows = [
        f"| `{each.kind}` | {each.meaning.value} | {each.happens} | {'yes' if each.billed else 'no'} | {each.client} |"
        for each in FAULTS.values()
    ]
    return "\n".join(
        ["| kind | meaning | what happens | billed | a client should |", "| --- | --- | --- | --- | --- |", *rows]
    )
