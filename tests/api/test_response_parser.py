"""What an answer means, as tables: one row a status, one row a body."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_images import Usage, errors
from aimlapi_images.api.outcome import Failure
from aimlapi_images.api.response_parser import (
    HTTPAnswer,
    ImageAnswer,
    read_image_answer,
    retry_after,
    status_failure,
)
from aimlapi_images.dispatch.delivery import usable
from aimlapi_images.media.embedded_images import cut_images
from aimlapi_images.media.image_finder import ImageEntry
from aimlapi_images.media.json_values import parsed
from conftest import PIXEL, scripted

ENCODED = base64.b64encode(PIXEL).decode()
API_BODY = {"message": "…", "path": "/v1/images/generations", "requestId": "798b860e", "statusCode": "429"}


def answer(status: int, body: Any = b"", **headers: str) -> HTTPAnswer:
    """An answer as `exchange` gives it."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    left, payloads = cut_images(content)
    document = parsed(left) if 200 <= status < 300 else None
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HTTPAnswer(status, named, bytes(left), document, payloads)


def images(status: int, body: Any = b"", **headers: str) -> ImageAnswer:
    found = read_image_answer(answer(status, body, **headers))
    assert isinstance(found, ImageAnswer)
    return found


def error_of(status: int, body: Any = b"", **headers: str) -> errors.ImageError:
    found = read_image_answer(answer(status, body, **headers))
    assert isinstance(found, Failure)
    return found.error(order="o1")


def status_error(status: int, body: Any = b"", **headers: str) -> errors.APIStatusError:
    error = status_failure(answer(status, body, **headers)).error()
    assert isinstance(error, errors.APIStatusError)
    return error


def said(message: str) -> dict[str, Any]:
    return {**API_BODY, "message": message}


STATUSES: list[tuple[int, Any, type[errors.APIStatusError], str]] = [
    (301, b"", errors.APIStatusError, "HTTP 301: no message, but an empty body"),
    (400, said("Body validation error!"), errors.APIStatusError, "HTTP 400: Body validation error!"),
    (
        400,
        {**said("Body validation error!"), "meta": [{"message": "Invalid enum value. Expected 'a' | 'b'"}]},
        errors.APIStatusError,
        "HTTP 400: Body validation error! Invalid enum value. Expected 'a' | 'b'",
    ),
    (
        400,
        {"error": {"message": "Your request was rejected.", "code": "moderation_blocked", "type": None, "param": None}},
        errors.ContentPolicyError,
        "HTTP 400: Your request was rejected.",
    ),
    (
        400,
        {"error": {"message": "No.", "code": "content_policy_violation"}},
        errors.ContentPolicyError,
        "HTTP 400: No.",
    ),
    (400, said("400 moderation_blocked"), errors.ContentPolicyError, "HTTP 400: 400 moderation_blocked"),
    (401, said("This request requires a valid API key."), errors.AuthenticationError, "requires a valid API key"),
    (402, b"", errors.InsufficientCreditsError, "HTTP 402"),
    (403, said("You've run out of credits. Please top up"), errors.InsufficientCreditsError, "run out of credits"),
    (
        403,
        b"<html>Forbidden</html>",
        errors.APIStatusError,
        "HTTP 403: no message, but 22 bytes beginning with b'<html>",
    ),
    (404, said("Not found"), errors.NotFoundError, "HTTP 404: Not found"),
    (413, b"", errors.APIStatusError, "HTTP 413"),
    (429, said("Too Many Requests"), errors.RateLimitError, "HTTP 429: Too Many Requests"),
    (429, said("Free-tier limit: You've reached your free limit"), errors.RateLimitError, "Free-tier limit"),
    (500, said("Something wrong with the server."), errors.ServerError, "HTTP 500: Something wrong"),
    (502, b"<html>", errors.ServerError, "HTTP 502: bad gateway"),
    (503, b"", errors.ServerError, "HTTP 503: service unavailable"),
    (504, said("Generation timeout"), errors.ProxyTimeoutError, "HTTP 504: Generation timeout"),
    (504, b"", errors.ProxyTimeoutError, "whether it was billed is unknown"),
    (520, b"<html>", errors.ProxyTimeoutError, "HTTP 520"),
    (524, b"<html>", errors.ProxyTimeoutError, "the proxy in front of the API gave up waiting .*billed is unknown"),
    (530, b"<html>", errors.ProxyTimeoutError, "HTTP 530"),
    (599, b"[]", errors.ServerError, "HTTP 599"),
]


@pytest.mark.parametrize(("status", "body", "kind", "message"), STATUSES)
def test_each_status_is_its_own_error(status: int, body: Any, kind: type[errors.APIStatusError], message: str) -> None:
    error = error_of(status, body, x_inference_id="inf-1")

    assert type(error) is kind
    assert re.search(message, str(error))
    assert isinstance(error, errors.APIStatusError)
    assert (error.status, error.order, error.inference_id) == (status, "o1", "inf-1")
    if isinstance(body, dict):
        assert error.body == body
        assert error.request_id == body.get("requestId")


@pytest.mark.parametrize(
    ("status", "billed"),
    [
        (400, False),
        (401, False),
        (429, False),
        (500, False),
        (502, False),
        (503, False),
        (504, True),
        (520, True),
        (524, True),
        (530, True),
    ],
)
def test_an_error_says_whether_the_order_may_be_billed(status: int, billed: bool) -> None:
    assert status_error(status, said("No.")).may_be_billed is billed


@pytest.mark.parametrize("status", [500, 502, 503])
@pytest.mark.parametrize("body", [b"", b"<html>", b'"no"', b"[]", b"{}"])
def test_what_does_not_show_that_it_is_the_apis_may_be_billed(status: int, body: bytes) -> None:
    unknown, own = status_error(status, body), status_error(status, body, x_inference_id="1")

    assert unknown.may_be_billed
    assert status_error(status, body, retry_after="1").may_be_billed
    assert "billed is unknown" in str(unknown)
    assert not own.may_be_billed
    assert "billed" not in str(own)


@given(st.integers(min_value=100, max_value=999), st.binary(max_size=200))
def test_any_status_with_any_body_is_an_error_of_the_tree(status: int, body: bytes) -> None:
    error = status_error(status, body)

    assert isinstance(error, errors.APIStatusError)
    assert str(error).startswith(f"HTTP {status}: ")


def test_only_the_beginning_of_a_page_is_kept() -> None:
    error = status_error(502, b"<html>" + b"x" * 100_000)

    assert isinstance(error.body, str)
    assert len(error.body) == 2_000


DATA: list[tuple[str, Any, bytes | None, str | None]] = [
    ("payload", {"data": [{"b64_json": ENCODED}]}, PIXEL, None),
    ("payload and null", {"data": [{"b64_json": ENCODED, "url": None}]}, PIXEL, None),
    ("url", {"data": [{"b64_json": None, "url": "https://a/b"}]}, None, "https://a/b"),
    ("url and empty payload", {"data": [{"b64_json": "", "url": "https://a/b"}]}, None, "https://a/b"),
    ("both", {"data": [{"b64_json": ENCODED, "url": "https://a/b"}]}, PIXEL, "https://a/b"),
    ("second entry", {"data": [None, {"url": ""}, {"url": "https://a/b"}]}, None, "https://a/b"),
    ("data URL", {"data": [{"b64_json": f"data:image/png;base64,{ENCODED}"}]}, PIXEL, None),
    ("data URL as a URL", {"data": [{"b64_json": None, "url": f"data:image/png;base64,{ENCODED}"}]}, PIXEL, None),
    ("no list", {"data": {"b64_json": ENCODED, "url": "https://a/b"}}, PIXEL, "https://a/b"),
    ("another field", {"data": [{"image": ENCODED, "docs": "https://a/b"}]}, PIXEL, None),
    ("another field, below", {"result": {"images": [{"base64": ENCODED}]}, "url": "https://a/b"}, PIXEL, None),
    ("a bare list", [ENCODED], PIXEL, None),
    ("a bare string", ENCODED, PIXEL, None),
    ("a URL in place of base64", {"data": [{"b64_json": "https://a/b"}]}, None, "https://a/b"),
    ("a list of URLs as URL", {"data": [{"url": ["https://a/b"]}]}, None, "https://a/b"),
    ("a nested URL", {"data": [{"url": {"url": "https://a/b"}}]}, None, "https://a/b"),
    ("a URL in another field", {"status": "ok", "image": "https://a/b"}, None, "https://a/b"),
    ("a list of URLs", {"output": ["https://a/b"]}, None, "https://a/b"),
    (
        "the one that ends as an image",
        {"url": "https://a/1", "link": "https://a/b.webp?s=1"},
        None,
        "https://a/b.webp?s=1",
    ),
    ("the one named after images", {"error_url": "https://a/1", "image_url": "https://a/2"}, None, "https://a/2"),
    ("in words", {"message": {"content": "![](https://a/b.png) (https://a/c)"}}, None, "https://a/b.png"),
    ("not the prompt's", {"prompt": "like https://a/1.png", "result": "https://a/b"}, None, "https://a/b"),
    ("JSON in JSON", {"body": json.dumps({"url": "https://a/b.png"}).replace("/", "\\/")}, None, "https://a/b.png"),
    ("broken JSON", b'{"data": [{"url": "https:\\/\\/a\\/b.png"}', None, "https://a/b.png"),
    ("nulls around", {"created": None, "usage": None, "meta": None, "data": [{"url": "u"}]}, None, "u"),
]


@pytest.mark.parametrize(("body", "data", "url"), [row[1:] for row in DATA], ids=[row[0] for row in DATA])
@pytest.mark.parametrize("status", [200, 201])
def test_an_image_is_found_by_its_value(status: int, body: Any, data: bytes | None, url: str | None) -> None:
    (found,) = images(status, body).entries

    came = None if found.payload is None else found.payload.data
    assert (came, found.url) == (data, url)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "text",
        {"data": None},
        {"data": []},
        {"data": {}},
        {"data": "text"},
        {"data": [{}]},
        {"data": [{"url": None, "b64_json": None}]},
        {"data": [{"url": "", "b64_json": ""}]},
        {"data": [{"url": 7, "b64_json": ["x"]}]},
        {"error": {"message": "see https://a/b", "doc_url": "https://a/c"}},
        {"request": "https://a/b"},
    ],
)
def test_success_without_an_image_is_an_error(body: Any) -> None:
    error = error_of(200, body, x_inference_id="inf-9")

    assert isinstance(error, errors.NoImageError)
    assert error.inference_id == "inf-9"
    assert error.body == body
    assert f": {json.dumps(body)} (order o1)" in str(error)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"data": [{"b64', b"\xff\xfe", b"null", b"see https://a/b"])
def test_success_that_is_not_json_is_an_unknown_outcome(body: bytes) -> None:
    error = error_of(200, body)

    assert type(error) is errors.OutcomeUnknownError
    assert re.search(r"not JSON .* whether it was billed is unknown", str(error))


async def test_the_guesses_are_limited() -> None:
    found = images(200, {"images": [f"https://a/{number}" for number in range(100)]})

    assert [each.url for each in found.entries] == [f"https://a/{number}" for number in range(10)]


@pytest.mark.parametrize(
    ("payload", "problem", "came"),
    [
        (ENCODED[:-3], "image: 66 bytes, cut off before the end of the png", PIXEL[:-3]),
        (
            "not base64!",
            "image: a character that is not base64 after 6 bytes; 6 bytes that",
            base64.b64decode("notbase6"),
        ),
        ("ä", "image: a character that is not base64 after 0 bytes; 0 bytes, cut", b""),
        (
            f"{ENCODED[:8]}!{ENCODED[8:]}",
            "image: a character that is not base64 after 6 bytes; 6 bytes, cut",
            PIXEL[:6],
        ),
        ("data:image/avif;base64,QUJDQUJDQUJDQUJDQUJD", "15 bytes that are not a PNG, JPEG, WebP or GIF", b"ABC" * 5),
    ],
)
async def test_a_broken_image_is_an_error_that_keeps_what_came(payload: str, problem: str, came: bytes) -> None:
    client, _ = scripted(httpx.Response(200, json={"data": [{"b64_json": payload}]}))

    with pytest.raises(
        errors.DecodeError, match=f"is not a valid {problem}" if "image:" in problem else problem
    ) as caught:
        await client.generate("x")

    assert caught.value.data == came


COSTS: list[tuple[dict[str, str], Any, Usage]] = [
    ({}, {}, Usage(None, None)),
    ({}, {"meta": {"usage": {"credits_used": 26465}}}, Usage(26465, 26465 / 2_000_000)),
    ({}, {"meta": {"usage": {"credits_used": 190450, "usd_spent": 0.095225}}}, Usage(190450, 0.095225)),
    ({}, {"meta": {"usage": None}}, Usage(None, None)),
    ({}, {"meta": {"usage": {"credits_used": None, "usd_spent": 0.5}}}, Usage(None, 0.5)),
    ({}, {"meta": {"usage": {"credits_used": 0, "usd_spent": 0}}}, Usage(0, 0.0)),
    ({}, {"usage": {"total_tokens": 1597}}, Usage(None, None)),
    ({"x_aimlapi_credits_used": "107341", "x_aimlapi_usd_spent": "0.0536705"}, {}, Usage(107341, 0.0536705)),
    ({"x_aimlapi_credits_used": "5"}, {"meta": {"usage": {"credits_used": 7}}}, Usage(5, 5 / 2_000_000)),
    ({"x_aimlapi_credits_used": "many"}, {"meta": {"usage": {"credits_used": 7}}}, Usage(7, 7 / 2_000_000)),
    ({"x_aimlapi_credits_used": "nan", "x_aimlapi_usd_spent": "-1"}, {}, Usage(None, None)),
    ({}, {"meta": {"usage": {"credits_used": True}}}, Usage(None, None)),
]


@pytest.mark.parametrize(("headers", "body", "usage"), COSTS)
def test_cost_comes_from_headers_or_body_and_is_none_when_unknown(
    headers: dict[str, str], body: dict[str, Any], usage: Usage
) -> None:
    found = images(200, {"data": [{"url": "u"}], **body}, **headers)

    assert found.usage == usage


def test_the_rewritten_prompt_is_kept() -> None:
    found = images(200, {"data": [{"url": "u", "revised_prompt": "A larger fox"}]})

    assert found.entries[0].revised_prompt == "A larger fox"


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "Fri, 02 Jan 2026 03:05:05 GMT"}, 60.0),
        ({"retry-after": "Fri, 02 Jan 2026 03:05:05 -0000"}, 60.0),
        ({"retry-after": "Fri, 02 Jan 2026 03:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "9"}, None),
    ],
)
def test_retry_after_is_read_in_each_of_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


def test_a_rate_limit_says_how_long() -> None:
    error = status_error(429, said("Too Many Requests"), retry_after="12")

    assert isinstance(error, errors.RateLimitError)
    assert error.retry_after == 12.0


HUGE = int("1" + "0" * 400)


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"data": [{"url": "u", "x": ' + b"[" * 200_000])
def test_a_body_that_is_too_deep_to_read_is_an_unknown_outcome(body: bytes) -> None:
    assert type(error_of(200, body)) is errors.OutcomeUnknownError
    assert isinstance(status_error(502, body), errors.ServerError)


def test_numbers_beyond_all_sense_do_not_cost_the_image() -> None:
    found = images(200, {"data": [{"url": "u"}], "meta": {"usage": {"credits_used": HUGE, "usd_spent": HUGE}}})

    assert found.usage == Usage(None, None)
    assert retry_after({"retry-after": "Mon, 01 Jan 2024 00:00:00 +99999999999999"}) is None


def test_a_broken_payload_beside_a_url_leaves_the_url() -> None:
    found = usable(images(203, {"data": [{"b64_json": "@@@", "url": "https://a/b"}]}))

    assert isinstance(found, ImageAnswer)
    assert found.entries == (ImageEntry(url="https://a/b"),)


LONG = "A" * 50_000


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"text": LONG}),
        (200, {"text": "a b " * 20_000}),
        (200, LONG.encode()),
        (400, {"message": LONG}),
        (400, {"message": "no \x1b[31m\n" * 9_999}),
        (500, {"error": {"message": LONG}, "meta": [{"message": "x " * 9_999}]}),
        (502, LONG.encode()),
    ],
)
def test_foreign_text_is_shortened_in_messages_and_base64_is_not_shown(status: int, body: Any) -> None:
    message = str(error_of(status, body))

    assert len(message) < 1_200
    assert "A" * 100 not in message
    assert message.isprintable()


def test_a_redirect_is_shortened() -> None:
    assert len(str(status_error(302, location="https://a/" + "b " * 5_000))) < 400
