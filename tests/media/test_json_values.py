"""Values of the wrong type read as missing."""

from __future__ import annotations

import pytest

from aimlapi_images.media.json_values import mapping, number, sequence, text


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
