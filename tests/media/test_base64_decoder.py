"""Base64 in any spelling and in pieces of any size decodes to the same bytes."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimlapi_images.media.base64_decoder import Payload

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=4)
WHITE_SPACE = st.lists(st.tuples(st.integers(0, 400), st.sampled_from([" ", "\n", "\r\n", "\t", "\n\n\n\n\n"])))
PREFIXES = st.sampled_from(
    ["", "data:,", "data:image/png;base64,", "DATA:image/jpeg;charset=utf-8;base64,", "\n data:,"]
)


def decoded(text: bytes, sizes: list[int], max_bytes: int = 1000) -> Payload:
    payload = Payload(max_bytes=max_bytes)
    position = turn = 0
    while position < len(text):
        end = position + sizes[turn % len(sizes)]
        payload.feed(text[position:end])
        position, turn = end, turn + 1
    payload.finish()
    return payload


def data_of(payload: Payload) -> bytes:
    assert payload.size == len(payload.data)
    return payload.data


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.booleans(), st.integers(0, 2), WHITE_SPACE, PREFIXES, SIZES)
def test_every_spelling_is_read(
    data: bytes, for_urls: bool, padding_less: int, spaces: list[tuple[int, str]], prefix: str, sizes: list[int]
) -> None:
    text = (base64.urlsafe_b64encode if for_urls else base64.b64encode)(data).decode()
    for _ in range(padding_less):
        text = text.removesuffix("=")
    for position, space in spaces:
        text = text[:position] + space + text[position:]

    payload = decoded((prefix + text).encode(), sizes)

    assert (data_of(payload), payload.problem) == (data, None)


@settings(max_examples=300, deadline=None)
@given(st.text("AQU/-=\n !\x00é", max_size=30), SIZES)
def test_any_text_in_any_pieces_is_read_up_to_the_first_foreign_character(text: str, sizes: list[int]) -> None:
    raw = text.encode()
    whole, in_pieces = decoded(raw, [1000]), decoded(raw, sizes)

    assert data_of(in_pieces) == data_of(whole)
    assert bool(in_pieces.problem) == bool(whole.problem)
    digits = text.replace("\n", "").replace(" ", "").replace("-", "+")
    readable = digits[: len(digits) - len(digits.lstrip("AQU/+"))]
    usable = readable[: len(readable) - (len(readable) % 4 == 1)]
    assert data_of(whole) == base64.b64decode(usable + "==")
    assert bool(whole.problem) == bool(digits[len(readable) :].strip("="))


@pytest.mark.parametrize(
    ("text", "data"),
    [("QUJD****QUJD", b"ABC"), ("QUJDQU!D", b"ABCA"), ("QQ==QUJD", b"A"), ("QUJDQ\\nQ", b"ABC"), ("\xa0QUJD", b"")],
)
def test_what_comes_before_a_problem_is_kept(text: str, data: bytes) -> None:
    payload = decoded(text.encode(), [4])

    assert payload.problem == f"a character that is not base64 after {len(data)} bytes"
    assert payload.problem in repr(payload)
    assert data_of(payload) == data


@pytest.mark.parametrize("text", ["Q", "QUJDQ", "Q===", "===="])
def test_a_lonely_character_is_dropped(text: str) -> None:
    payload = decoded(text.encode(), [3])

    assert payload.problem is None
    assert data_of(payload) == b"ABC" * (len(text) == 5)


def test_an_image_larger_than_the_limit_is_a_problem() -> None:
    payload = decoded(base64.b64encode(bytes(101)), [8], max_bytes=100)

    assert payload.problem == "more than 100 bytes"
    assert len(data_of(payload)) <= 100


def test_padding_without_end_takes_no_memory() -> None:
    payload = Payload(max_bytes=100)
    for _ in range(100):
        payload.feed(b"=" * 1000)

    assert len(payload._held) <= 8
