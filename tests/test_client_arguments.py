"""Validation of `ImageClient`'s arguments."""

from __future__ import annotations

from typing import Any

import pytest

from aimlapi_images import ImageClient, InvalidRequestError
from conftest import KEY


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"retry": 3}, r"retry must be a RetryPolicy, not 3"),
        ({"budget": 5}, "budget must be a Budget, not 5"),
        ({"observer": 5}, "observer must be an async function"),
        ({"timeout": "x"}, "timeout must be a number"),
        ({"api_key": None}, "no API key: set AIMLAPI_API_KEY .* pass api_key, or try the emulator"),
        ({"api_key": ""}, "no API key"),
        ({"api_key": "two words"}, "the API key contains spaces"),
        ({"api_key": "schlüssel"}, "characters that no key has"),
        ({"max_concurrency": 0}, "max_concurrency must be .* not 0"),
        ({"max_concurrency": 2.5}, "max_concurrency must be .* not 2.5"),
        ({"max_concurrency": True}, "max_concurrency must be .* not True"),
        ({"timeout": 0}, "timeout must be a number greater than 0"),
        ({"timeout": None}, "timeout must be a number"),
        ({"base_url": "api.aimlapi.com"}, "must start with https://"),
        ({"base_url": "ftp://api.aimlapi.com"}, "must start with https://"),
        ({"base_url": "https://"}, "must start with https://"),
        ({"base_url": "https://me:secret@api.aimlapi.com"}, "must not contain a user name or password"),
        ({"base_url": "https://api.aimlapi.com/v1?x=1"}, "must not have a query"),
        ({"base_url": "https://api.aimlapi.com:port"}, "is not a valid URL"),
    ],
)
def test_invalid_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message) as caught:
        ImageClient(**{"api_key": KEY, **arguments})

    assert "secret" not in str(caught.value)
    assert "words" not in str(caught.value)
