"""`ImageClient` refuses invalid arguments when it is created."""

from __future__ import annotations

from typing import Any

import pytest

from aimlapi_images import ImageClient, InvalidRequestError
from conftest import KEY


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"retry": 3}, r"retry is 3, and has to be a RetryPolicy, as in retry=RetryPolicy\(...\)"),
        ({"budget": 5}, "budget is 5, and has to be a"),
        ({"observer": 5}, "observer is 5, and has to be an async function"),
        ({"timeout": "x"}, "timeout is 'x', and has to be a number of seconds"),
        ({"api_key": None}, "no API key: set AIMLAPI_API_KEY .* pass api_key, or try the emulator"),
        ({"api_key": ""}, "no API key"),
        ({"api_key": "two words"}, "the API key has spaces"),
        ({"api_key": "schlüssel"}, "letters that no key has"),
        ({"max_concurrency": 0}, "max_concurrency is 0"),
        ({"max_concurrency": 2.5}, "max_concurrency is 2.5"),
        ({"max_concurrency": True}, "max_concurrency is True"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": None}, "timeout is None"),
        ({"base_url": "api.aimlapi.com"}, "has to begin with https://"),
        ({"base_url": "ftp://api.aimlapi.com"}, "has to begin with https://"),
        ({"base_url": "https://"}, "has to begin with https://"),
        ({"base_url": "https://me:secret@api.aimlapi.com"}, "a user name or password in it"),
        ({"base_url": "https://api.aimlapi.com/v1?x=1"}, "no query"),
        ({"base_url": "https://api.aimlapi.com:port"}, "is not a URL"),
    ],
)
def test_invalid_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message) as caught:
        ImageClient(**{"api_key": KEY, **arguments})

    assert "secret" not in str(caught.value)
    assert "words" not in str(caught.value)
