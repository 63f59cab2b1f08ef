"""Validation of `ImageClient`'s arguments."""

from __future__ import annotations

import asyncio
import warnings
from contextlib import suppress
from inspect import signature
from typing import Any, Final

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aimlapi_images import ImageClient, ImageError, InvalidRequestError, RetryPolicy, aiohttp_transport
from conftest import KEY

_ADDRESSES: Final = st.one_of(
    st.text(),
    st.builds("http://{}".format, st.text(max_size=15)),
    st.text(alphabet="htps:/[]@.%1a\0 é", max_size=20),
)
_ANYTHING: Final = st.one_of(
    st.text(), st.none(), st.booleans(), st.integers(), st.floats(), st.binary(), st.dictionaries(st.text(), st.text())
)
_VARIABLES: Final = (
    "AIMLAPI_API_KEY",
    "AIMLAPI_API_BASE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "all_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)


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
        ({"base_url": "api.aimlapi.com"}, "is not valid: it must have https://"),
        ({"base_url": "ftp://api.aimlapi.com"}, "is not valid: it must have https://"),
        ({"base_url": "https://"}, "is not valid: it must have https://"),
        ({"base_url": "https://me:secret@api.aimlapi.com"}, "must not contain a user name or password"),
        ({"base_url": "https://api.aimlapi.com/v1?x=1"}, "is not valid: it must have https://"),
        ({"base_url": "https://api.aimlapi.com:port"}, "is not valid: it must have https://"),
        ({"base_url": "https://xn--a"}, "is not valid: it must have https://"),
        ({"keepalive": -1}, "keepalive must be a number, 0 or more, not -1"),
        ({"transport": "aiohttp"}, "transport must be an AsyncBaseTransport, not 'aiohttp'"),
        ({"download_transport": 5}, "download_transport must be an AsyncBaseTransport, not 5"),
        ({"headers": ["X-Team"]}, "headers must be a mapping from names to values, not list"),
        ({"headers": {"X Team": "a"}}, "'X Team' is not the name of a header"),
        ({"headers": {"Content-Length": "5"}}, "'Content-Length' is not .* that all requests can have"),
        ({"headers": {"X-Team": "two\nlines"}}, "header 'X-Team' must have printable ASCII text as its value"),
        ({"headers": {"X-Team": 5}}, "header 'X-Team' must have printable ASCII text as its value"),
    ],
)
def test_invalid_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message) as caught:
        ImageClient(**{"api_key": KEY, **arguments})

    assert "secret" not in str(caught.value)
    assert "words" not in str(caught.value)


def order(**arguments: Any) -> ImageError | None:
    """Order one image from a server that refuses it, with these arguments. Returns our error, and raises any other."""

    async def run() -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(400, json={"message": "no"}))
        given = {"api_key": KEY, "transport": transport, "retry": RetryPolicy(attempts=1), **arguments}
        async with ImageClient(**given) as client:
            await client.generate("x")

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a key over plain HTTP
            asyncio.run(run())
    except ImageError as error:
        return error
    return None


@settings(deadline=None)
@given(_ADDRESSES)
@example("https://xn--a")
@example("http://[::1")
def test_any_text_may_be_the_base_url(text: str) -> None:
    assert (error := order(base_url=text)) is not None
    assert not error.may_be_billed


@settings(deadline=None)
@given(st.text())
def test_any_text_may_be_the_key(text: str) -> None:
    assert (error := order(api_key=text)) is not None
    assert not error.may_be_billed
    assert len(text) < 8 or text not in str(error)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=9), _ANYTHING, max_size=2))
def test_anything_may_be_in_the_headers(headers: dict[str, Any]) -> None:
    assert (error := order(headers=headers)) is not None
    assert not error.may_be_billed


@settings(deadline=None)
@given(
    st.sampled_from([name for name in signature(ImageClient).parameters if name != "self"]),
    _ANYTHING.filter(lambda value: value is not None),
)
def test_anything_may_be_an_argument(name: str, value: object) -> None:
    assert (error := order(**{name: value})) is not None
    assert not error.may_be_billed


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(_VARIABLES), _ADDRESSES, st.booleans())
@example("HTTP_PROXY", "http://xn--a", True)
@example("HTTPS_PROXY", "http://xn--a", False)
def test_any_text_may_be_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, aiohttp: bool
) -> None:
    """Making a client gives one, or an error of ours."""

    async def make() -> None:
        key = None if "KEY" in name else KEY
        await ImageClient(key, transport=aiohttp_transport() if aiohttp else None).aclose()

    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        patch.delenv("NO_PROXY")
        try:
            patch.setenv(name, text)
        except (ValueError, UnicodeError):  # which no environment can have
            return
        with suppress(InvalidRequestError):
            asyncio.run(make())
