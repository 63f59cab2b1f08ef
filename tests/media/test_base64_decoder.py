"""Base64 in pieces of any size decodes as the standard library decodes it whole."""

from __future__ import annotations

import base64
import binascii
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from aimlapi_images.media.base64_decoder import Payload

TEXTS = st.text("ABQU/+=- ", max_size=24) | st.binary(max_size=24).map(lambda data: base64.b64encode(data).decode())


def decoded(text: bytes, sizes: list[int]) -> Payload[io.BytesIO]:
    payload = Payload(io.BytesIO(), max_bytes=100)
    position = turn = 0
    while position < len(text):
        end = position + sizes[turn % len(sizes)]
        payload.feed(text[position:end])
        position, turn = end, turn + 1
    payload.finish()
    return payload


@settings(max_examples=200, deadline=None)
@given(
    TEXTS,
    st.sampled_from(["", "data:,", "data:image/png;base64,"]),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
)
def test_any_text_in_any_pieces(text: str, prefix: str, sizes: list[int]) -> None:
    payload = decoded((prefix + text).encode(), sizes)

    padded = text if "=" in text else text + "=" * (-len(text) % 4)
    try:
        # Some versions of the standard library accept excess padding.
        expected = base64.b64decode(padded, validate=True) if len(padded) % 4 == 0 else None
    except binascii.Error:
        expected = None
    assert (payload.sink.getvalue() if payload.problem is None else None) == expected
    assert payload.size == len(payload.sink.getvalue())
    if expected is not None:
        assert payload.characters == len(text)


def test_nothing_is_written_after_a_problem() -> None:
    payload = decoded(b"QUJD****QUJD", [4])

    assert (payload.problem, payload.position) == ("a character that is not base64", 4)
    assert payload.sink.getvalue() == b"ABC"


def test_only_the_first_problem_is_recorded() -> None:
    payload = decoded(b"****", [4])
    payload.fail("another one", 7)

    assert (payload.problem, payload.position) == ("a character that is not base64", 0)


def test_an_image_larger_than_the_limit_is_a_problem() -> None:
    payload = decoded(base64.b64encode(bytes(101)), [8])

    assert payload.problem == "more than 100 bytes"
    assert payload.size <= 100
