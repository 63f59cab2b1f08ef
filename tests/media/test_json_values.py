"""Values of the wrong type read as missing."""

from __future__ import annotations

import pytest

from aimlapi_images.media.json_values import mapping, number, parsed, sequence, shorten, shorten_url, text


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "x", [1], {"a": 1}])
def test_only_the_right_type_is_read(value: object) -> None:
    assert mapping(value) == (value if isinstance(value, dict) else {})
    assert sequence(value) == (value if isinstance(value, list) else [])
    assert text(value) == (value if isinstance(value, str) else "")


def test_text_has_no_white_space_around_it() -> None:
    assert text(" \n fox \t") == "fox"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0.0),
        (2.5, 2.5),
        ("0.0344", 0.0344),
        (" 7 ", 7.0),
        (True, None),
        ("", None),
        ("fox", None),
        ("nan", None),
        ("-Infinity", None),
        (float("nan"), None),
        (10**400, None),
        ([1], None),
        (None, None),
    ],
)
def test_numbers_are_finite_and_may_be_strings(value: object, expected: float | None) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b'\xef\xbb\xbf\n{"a": 1}', {"a": 1}),
        (b'{"a": "\xff\n\x00"} \r\n<html>', {"a": "\ufffd\n\0"}),
        (b"[1]]", [1]),
        (b"12 ", 12),
        (b"503 Service Unavailable", None),
        (b"<html>", None),
        (b"", None),
        ('{"a": 1}'.encode("utf-16"), None),
        (b"[" * 200_000, None),
    ],
)
def test_json_is_read_as_leniently_as_it_is_clear(body: bytes, document: object) -> None:
    assert parsed(body) == document
    assert parsed(bytearray(body)) == document


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("fox", "fox"),
        ("one\r\ntwo\x1b[31m\x9b", "one two [31m "),
        ("x " * 150, "x " * 98 + "x..."),
        ("id " + "Ab9_" * 500 + "=", "id <2,001 characters>"),
        ("狐" * 300, "狐" * 197 + "..."),
    ],
)
def test_foreign_text_is_one_short_line_without_base64(foreign: str, shown: str) -> None:
    assert shorten(foreign) == shown


def test_a_url_stays_usable_up_to_2_000_characters() -> None:
    url = "https://a/b?signature=" + "A" * 900

    assert shorten_url(url) == url
    assert len(shorten_url(url * 9)) == 2_003
