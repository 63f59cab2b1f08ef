"""The key and the address: where they come from, and where the key goes."""

from __future__ import annotations

import copy
import logging
import pickle
from typing import Any

import httpx
import pytest

from aimlapi_images import AuthenticationError, ImageClient, ImageError, InvalidRequestError
from aimlapi_images.api.auth import BearerAuth, origin
from aimlapi_images.config import find_api_key, find_base_url
from conftest import KEY, PIXEL, PIXEL_ANSWER, Script, scripted


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ("given", {"AIMLAPI_API_KEY": "one"}, "given"),
        (None, {"AIMLAPI_API_KEY": "one", "AIML_API_KEY": "two"}, "one"),
        (None, {"AIML_API_KEY": "two"}, "two"),
        (None, {"AIMLAPI_API_KEY": "", "AIML_API_KEY": "two"}, "two"),
        (None, {"AIMLAPI_API_KEY": " pasted\n"}, "pasted"),
        (None, {"AIMLAPI_API_KEY": '"quoted"'}, "quoted"),
        (None, {"AIMLAPI_API_KEY": "''", "AIML_API_KEY": " 'two' "}, "two"),
        ("'quoted'", {}, "quoted"),
    ],
)
def test_the_key_comes_from_the_argument_or_the_environment(
    given: str | None, environment: dict[str, str], expected: str
) -> None:
    assert find_api_key(given, environment) == expected


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        (None, {}, "https://api.aimlapi.com/"),
        (None, {"AIMLAPI_API_BASE": "https://one.example/v1"}, "https://one.example/"),
        (None, {"AIML_API_BASE": "https://two.example"}, "https://two.example/"),
        ("https://api.aimlapi.com/v1", {"AIML_API_BASE": "https://two.example"}, "https://api.aimlapi.com/"),
        ("https://api.aimlapi.com/v1/", {}, "https://api.aimlapi.com/"),
        ("https://proxy.example/aiml/v1", {}, "https://proxy.example/aiml"),
        ("http://127.0.0.1:8400", {}, "http://127.0.0.1:8400/"),
        (None, {"AIMLAPI_API_BASE": '"https://one.example/v1"'}, "https://one.example/"),
    ],
)
def test_the_base_url_may_end_with_v1_or_not(given: str | None, environment: dict[str, str], expected: str) -> None:
    assert str(find_base_url(given, environment)) == expected


@pytest.mark.parametrize(
    "key", ["<YOUR_API_KEY>", "${AIMLAPI_API_KEY}", "{{ key }}", "your-key-here", "YOUR_KEY", 7, b"k"]
)
def test_what_is_not_a_key_is_refused_without_showing_it(key: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"placeholder|must be a string") as caught:
        find_api_key(key, {})

    assert str(key) not in str(caught.value)


@pytest.mark.parametrize("base_url", ["", " ", "''", b"https://a.example", 7])
def test_an_empty_base_url_does_not_mean_the_real_api(base_url: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"base URL|base_url"):
        find_base_url(base_url, {})


@pytest.mark.parametrize("host", ["api.aimlapi.com", "gateway.corp.", "8.8.8.8", "[2001:4860:4860::8888]:8080"])
def test_a_key_that_goes_unencrypted_is_warned_of_where_the_client_is_made(host: str) -> None:
    with pytest.warns(UserWarning, match="the API key is sent to .* unencrypted: use https") as warned:
        ImageClient(KEY, base_url=f"http://{host}")

    assert [each.filename for each in warned] == [__file__]
    assert KEY not in str(warned[0].message)


@pytest.mark.parametrize(
    "url",
    [
        *("https://api.aimlapi.com", "http://localhost:8400", "http://api.localhost", "http://printer.local"),
        *("http://127.0.0.1:8400", "http://[::1]:8400", "http://10.1.2.3", "http://192.168.0.9", "http://gateway"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_key_that_stays_near_is_not_warned_of(url: str) -> None:
    ImageClient(KEY, base_url=url)


@pytest.mark.parametrize("base_url", ["https://proxy.example/aiml", "https://proxy.example/aiml/v1/"])
async def test_the_path_of_a_proxy_is_kept(base_url: str) -> None:
    script = Script(httpx.Response(200, json=PIXEL_ANSWER))
    client = ImageClient(KEY, base_url=base_url, transport=script.transport)

    await client.generate("through a proxy")

    assert str(script.requests[0].url) == "https://proxy.example/aiml/v1/images/generations"


async def test_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch, emulator_url: str) -> None:
    monkeypatch.setenv("AIML_API_KEY", KEY)
    monkeypatch.setenv("AIMLAPI_API_BASE", f"{emulator_url}/v1")

    async with ImageClient() as client:
        image = await client.generate("from the environment")

    assert image.format == "png"


def test_origins_are_scheme_host_and_port() -> None:
    assert origin(httpx.URL("https://a.example")) == origin(httpx.URL("https://a.example:443/path"))
    assert origin(httpx.URL("https://a.example")) != origin(httpx.URL("http://a.example"))
    assert origin(httpx.URL("https://a.example")) != origin(httpx.URL("https://a.example:8443"))
    assert origin(httpx.URL("https://a.example")) != origin(httpx.URL("https://a.example.evil.example"))


@pytest.mark.parametrize(
    "url", ["https://cdn.example/a.png", "http://api.aimlapi.com/x", "https://api.aimlapi.com:8443"]
)
def test_the_key_goes_to_the_apis_origin_alone(url: str) -> None:
    auth = BearerAuth(KEY, httpx.URL("https://api.aimlapi.com"))

    elsewhere = next(auth.auth_flow(httpx.Request("GET", url, headers={"Authorization": f"Bearer {KEY}"})))
    home = next(auth.auth_flow(httpx.Request("GET", "https://api.aimlapi.com/v1/x")))

    assert "authorization" not in elsewhere.headers
    assert home.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("location", ["https://elsewhere.example/v1", "https://api.aimlapi.com/v2"])
async def test_a_redirected_order_is_not_repeated(location: str) -> None:
    client, script = scripted(httpx.Response(307, headers={"Location": location}))

    with pytest.raises(ImageError, match="HTTP 307"):
        await client.generate("redirected")

    assert len(script.requests) == 1


async def test_the_key_is_in_no_text(caplog: pytest.LogCaptureFixture) -> None:
    url = {"data": [{"url": "https://cdn.example/a.png"}]}
    client, _ = scripted(
        httpx.Response(200, json=url),
        httpx.Response(200, content=PIXEL),
        httpx.Response(401, json={"message": f"Invalid key {KEY}", "requestId": KEY}),
        httpx.ConnectError("no route"),
    )
    texts = [repr(client), str(client)]
    with caplog.at_level(logging.DEBUG):
        texts.append(repr(await client.generate("spoken of")))
        for _ in range(2):
            with pytest.raises(ImageError) as caught:
                await client.generate("refused")
            texts += [str(caught.value), repr(caught.value), repr(vars(caught.value))]
            texts.append(repr(pickle.dumps(caught.value)))

    texts.append(caplog.text)
    assert "aimlapi_images" in caplog.text
    assert [text for text in texts if KEY in text] == []
    assert "Invalid key [API key]" in "".join(texts)


def test_a_client_cannot_be_pickled_or_copied_with_its_key() -> None:
    auth = BearerAuth(KEY, httpx.URL("https://api.aimlapi.com"))

    assert KEY not in repr(auth)
    for dump in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="make one per process"):
            dump(auth)
    with pytest.raises(TypeError):
        pickle.dumps(ImageClient(KEY))


async def test_a_wrong_key_is_an_authentication_error(emulator_url: str) -> None:
    async with ImageClient("sk-wrong", base_url=emulator_url) as client:
        with pytest.raises(AuthenticationError, match="requires a valid API key") as caught:
            await client.generate("refused")

    assert caught.value.status == 401
    assert caught.value.request_id
    assert caught.value.order
