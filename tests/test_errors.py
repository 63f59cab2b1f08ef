"""The exception tree: its drawing, public names and pickling."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from typing import Any, get_args

import pytest

import aimlapi_images
import aimlapi_rest.fields
from aimlapi_images import errors
from aimlapi_images.errors import ImageError
from aimlapi_images.orders import schema

CLASSES = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, ImageError)]


def test_the_drawing_in_the_docstring_is_the_tree() -> None:
    drawn: list[tuple[int, str]] = [
        (match.start(), match.group())
        for line in (errors.__doc__ or "").splitlines()
        if (match := re.search(r"\w+Error", line))
    ]
    for number, (depth, name) in enumerate(drawn[1:], start=1):
        parent = next(other for shallower, other in reversed(drawn[:number]) if shallower < depth)
        assert getattr(errors, parent) in getattr(errors, name).__bases__

    assert sorted(name for _, name in drawn) == sorted(each.__name__ for each in CLASSES)


def test_every_error_is_public() -> None:
    assert {each.__name__ for each in CLASSES} <= set(aimlapi_images.__all__)


def test_public_names_exist_and_others_do_not() -> None:
    aliases = {"ImageInput", "Observer", *aimlapi_images._VALUES}
    for name in aimlapi_images.__all__:
        named = getattr(getattr(aimlapi_images, name), "__name__", None)
        assert named == name or name in aliases
        assert name in dir(aimlapi_images)
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        getattr(aimlapi_images, "Nonsense")  # noqa: B009 - types know that there is none


def test_types_of_fields_have_the_schemas_values() -> None:
    assert get_args(aimlapi_images.Size) == tuple(schema.request("generations")["properties"]["size"]["enum"])
    for name in aimlapi_images._VALUES:
        assert getattr(aimlapi_images, name) is getattr(aimlapi_rest.fields, name)


EVERY: dict[type[ImageError], dict[str, Any]] = {
    errors.APIStatusError: {"status": 418, "retry_after": 7.5, "body": {"a": 1}, "request_id": "r"},
    errors.DeadlineExceededError: {"phase": "download", "urls": ("https://a/1",), "may_be_billed": True},
    errors.DecodeError: {"data": b"abc", "url": "https://a/1"},
    errors.DownloadError: {"url": "https://a/1", "usage": aimlapi_images.Usage(1, 0.5)},
    errors.NotSavedError: {"image": None},
}


@pytest.mark.parametrize("travel", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", CLASSES)
def test_errors_can_be_pickled_and_copied(kind: Any, travel: Callable[[Exception], Any]) -> None:
    own = next((EVERY[base] for base in kind.__mro__ if base in EVERY), {})
    error = kind("slow down", order="abc", inference_id="i", note="!", **own)

    arrived = travel(error)

    assert type(arrived) is kind
    assert str(arrived) == str(error)
    assert "slow down! (order abc)" in str(error)
    assert vars(arrived) == vars(error)
    assert arrived.args == error.args


def test_errors_of_orders_that_may_be_billed_say_so() -> None:
    marked = {each.__name__ for each in CLASSES if each.may_be_billed}

    assert marked == {
        "OutcomeUnknownError",
        "NoImageError",
        "DecodeError",
        "DownloadError",
        "NotSavedError",
        "ProxyTimeoutError",
    }
