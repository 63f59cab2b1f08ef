"""Images are cut out of any body, in any spelling of base64, and no fault around an image loses it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimlapi_images.media import embedded_images
from aimlapi_images.media.embedded_images import cut_images, decode_base64
from aimlapi_images.media.json_values import parsed
from conftest import PIXEL

B64 = base64.b64encode(PIXEL).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(range(256))).decode()  # has slashes and pluses
WEBP = base64.b64encode(b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(20)).decode()
GIF = base64.b64encode(b"GIF89a" + bytes(20)).decode()


def outcome(body: bytes) -> tuple[Any, list[tuple[str, bytes, bool]]]:
    """The document, and each image's name, bytes, and whether there was a problem."""
    left, payloads = cut_images(body)
    return parsed(left), [(name, each.data, each.problem is not None) for name, each in payloads.items()]


def entry(text: str) -> str:
    return '{"data": [{"b64_json": "%s", "url": null}]}' % text  # noqa: UP031 - braces


FOUND: dict[str, tuple[str, Any, list[bytes]]] = {
    "documented": (entry(B64), {"data": [{"b64_json": "<image 1>", "url": None}]}, [PIXEL]),
    "any text in the documented field": (entry("QUJD"), {"data": [{"b64_json": "<image 1>", "url": None}]}, [b"ABC"]),
    "nothing in the documented field": (entry(""), {"data": [{"b64_json": "", "url": None}]}, []),
    "no image": ('{"data": [{"b64_json": null, "url": "u"}]}', {"data": [{"b64_json": None, "url": "u"}]}, []),
    "white space": (f'{{\n"b64_json"\r\n:\t"{B64}"\n}}', {"b64_json": "<image 1>"}, [PIXEL]),
    "another field": (f'{{"image": "{B64}", "x": [1]}}', {"image": "<image 1>", "x": [1]}, [PIXEL]),
    "a list": (f'["{B64}", "{B64}"]', ["<image 1>", "<image 2>"], [PIXEL, PIXEL]),
    "a string": (f'"{B64}"', "<image 1>", [PIXEL]),
    "a data URL": (f'{{"url": "data:image/png;base64,{B64}"}}', {"url": "<image 1>"}, [PIXEL]),
    "an escaped data URL": (f'["DATA:image\\/png;base64,{B64}"]', ["<image 1>"], [PIXEL]),
    "a data URL of another format": ('["data:image/avif;base64,QUJD"]', ["<image 1>"], [b"ABC"]),
    "white space before it": (f'["\\n \\t{B64}"]', ["<image 1>"], [PIXEL]),
    "other data URLs": ('["data:text/html;base64,QUJD"]', ["data:text/html;base64,QUJD"], []),
    "text like an image": ('["/9j/ is how a JPEG begins", "RIFF"]', ["/9j/ is how a JPEG begins", "RIFF"], []),
    "Markdown": (f'["![fox](data:image/png;base64,{B64}) [b](c)"]', ["![fox](<image 1>) [b](c)"], [PIXEL]),
    "a tag": (f"<image>{B64}</image>", None, [PIXEL]),
    "an HTML page": (f'<img src="data:image/png;base64,{B64}">', None, [PIXEL]),
    "a key that comes twice": (f'{{"b64_json": "{B64}", "b64_json": null}}', {"b64_json": None}, [PIXEL]),
    "an address": ('{"b64_json": "https://a/b"}', {"b64_json": "https://a/b"}, []),
    "line breaks": (entry("QU\\nJD\\r\\nQUJD"), {"data": [{"b64_json": "<image 1>", "url": None}]}, [b"ABCABC"]),
    "raw line breaks": (entry("QU\nJD\r\nQUJD"), {"data": [{"b64_json": "<image 1>", "url": None}]}, [b"ABCABC"]),
    "JSON in JSON": (
        json.dumps({"body": json.dumps({"data": [{"image": JPEG.replace("/", "\\/")}]})}),
        {"body": '{"data": [{"image": "<image 1>"}]}'},
        [base64.b64decode(JPEG)],
    ),
    "single quotes": (f"{{'data': [{{'b64_json': '{B64}'}}]}}", None, [PIXEL]),
    "no JSON": (B64, None, [PIXEL]),
    "no JSON, with a line break": (f"\n{B64}\n", None, [PIXEL]),
    "an event stream": (f'data: {{"b64_json": "{B64}"}}\n\ndata: [DONE]', None, [PIXEL]),
    "cut off in the image": (entry(B64).partition(B64[-8:])[0], None, [PIXEL[:-6]]),
    "cut off behind the image": (entry(B64).partition(B64)[0] + B64, None, [PIXEL]),
    "cut off behind the string": (entry(B64).partition(", ")[0], None, [PIXEL]),
    "text behind it": (entry("QUJD") + "\n<html>", {"data": [{"b64_json": "<image 1>", "url": None}]}, [b"ABC"]),
    "raw control characters": (f'{{"a": "b\n\0", "image": "{B64}"}}', {"a": "b\n\0", "image": "<image 1>"}, [PIXEL]),
    "not a number": (f'{{"a": -Infinity, "image": "{B64}"}}', {"a": -float("inf"), "image": "<image 1>"}, [PIXEL]),
    "a number too long to read": (f'{{"a": {"1" * 5000}, "image": "{B64}"}}', None, [PIXEL]),
    "deep nesting": (f'{{"image": "{B64}", "a": {"[" * 200_000}', None, [PIXEL]),
    "a comma too many": (f'{{"image": "{B64}",}}', None, [PIXEL]),
    **{f"/9j/ {name}": (f'["{text}"]', ["<image 1>"], [base64.b64decode(JPEG)]) for name, text in {
        "plain": JPEG,
        "with escaped slashes": JPEG.replace("/", "\\/"),
        "with code points": JPEG[:4] + JPEG[4:].replace("/", "\\u002f").replace("+", "\\u002B"),
        "for URLs": JPEG.replace("/", "_").replace("+", "-"),
    }.items()},
    "WebP": (f'["{WEBP}"]', ["<image 1>"], [base64.b64decode(WEBP)]),
    "GIF": (f'["{GIF}"]', ["<image 1>"], [base64.b64decode(GIF)]),
}  # fmt: skip


@pytest.mark.parametrize(("body", "document", "images"), FOUND.values(), ids=FOUND)
def test_an_image_is_found_wherever_it_stands(body: str, document: Any, images: list[bytes]) -> None:
    expected = [(f"<image {number}>", data, False) for number, data in enumerate(images, 1)]

    assert outcome(body.encode()) == (document, expected)


@pytest.mark.parametrize("body", [body for body, _, images in FOUND.values() if images and len(body) < 5_000])
def test_an_answer_cut_off_anywhere_keeps_what_had_come(body: str) -> None:
    raw = body.encode()
    _, whole = outcome(raw)

    for cut in range(len(raw)):
        _, images = outcome(raw[:cut])
        for (name, data, _), (_, part, _) in zip(whole, images, strict=False):
            assert data.startswith(part) or len(part) < 12, (name, cut)  # the latter of a data URL's beginning


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b"\xef\xbb\xbf" + entry("QUJD").encode(), {"data": [{"b64_json": "<image 1>", "url": None}]}),
        (b'{"a\xff": "\xc3", "b64_json": "QUJD"}', {"a\ufffd": "\ufffd", "b64_json": "<image 1>"}),
        (b'{"a": "\xed\xa0\x80", "b64_json": "QUJD"}', {"a": "\ufffd\ufffd\ufffd", "b64_json": "<image 1>"}),
    ],
)
def test_broken_text_around_an_image_does_not_matter(body: bytes, document: Any) -> None:
    assert outcome(body) == (document, [("<image 1>", b"ABC", False)])


def test_an_image_in_place_of_json_is_taken_as_it_is() -> None:
    assert outcome(PIXEL) == (None, [("<image 1>", PIXEL, False)])


@pytest.mark.parametrize(
    "text", ["QUJD!QUJD", "QUJD\\xQUJD", 'QUJD\\"QUJD', "QUJD\\\\", "QUJD\xff", "QUJD\\ud83d\\ude00", "QUJD\\u00"]
)
def test_a_broken_image_keeps_what_came_before(text: str) -> None:
    _, ((name, data, _),) = outcome(entry(text).encode())

    assert (name, data) == ("<image 1>", b"ABC")


IN_JSON = st.text(st.sampled_from('QUJD+/=A9 "\\\n,:-é{}[]'), max_size=30) | st.text(max_size=10)
ENCODED = st.binary(max_size=60).map(lambda data: base64.b64encode(PIXEL[:9] + data).decode())
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | IN_JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["data", "url", "a"]), inner),
    max_leaves=8,
)
DOCUMENTS = st.recursive(
    PLAIN | ENCODED,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["data", "image"]), ENCODED | inner),
    max_leaves=8,
)


def without_images(value: Any, found: list[bytes]) -> Any:
    """The document that the decoder is to give."""
    if isinstance(value, dict):
        return {key: without_images(each, found) for key, each in value.items()}
    if isinstance(value, list):
        return [without_images(each, found) for each in value]
    if isinstance(value, str) and value.startswith(base64.b64encode(PIXEL[:9]).decode()):
        found.append(base64.b64decode(value))
        return f"<image {len(found)}>"
    return value


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 1]), st.booleans())
def test_any_document(document: Any, ascii_only: bool, indent: int | None, slashes: bool) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    body = (text.replace("/", "\\/") if slashes else text).encode()
    images: list[bytes] = []
    expected = without_images(document, images)

    found, payloads = outcome(body)

    assert found == expected
    assert [data for _, data, _ in payloads] == images


TOKENS = ['{"data":[{"b64_json":"', '{"data":[', '"b64_json"', '"', "'", "(", "[", "]", "{", "}", ",", ":", "\\"]
TOKENS += ["\\u00", "41", "/9j/4AAQSkZJRg", B64, "QUJD", "=", "data:image/", "data:,", " ", "1", '"}]}', "\\ud800"]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=25).map("".join) | st.binary(max_size=120).map(repr))
def test_no_mixture_is_an_error_and_what_is_no_image_is_left(text: str) -> None:
    left, payloads = cut_images(text.encode())

    assert len(left) <= len(text.encode()) + len("<image 1>") * len(payloads)
    assert all(name.encode() in left for name in payloads)


def test_a_large_image_leaves_little() -> None:
    data = bytes(range(256)) * 6000
    body = json.dumps({"data": [{"b64_json": base64.b64encode(data).decode()}], "meta": {}}).encode()

    left, payloads = cut_images(body)

    assert left == b'{"data": [{"b64_json": "<image 1>"}], "meta": {}}'
    assert payloads["<image 1>"].data == data


def test_a_body_that_is_not_json_is_left_unchanged() -> None:
    body = b"<html>\n<h1>502 Bad Gateway</h1>" + bytes([0xFF])

    assert cut_images(body) == (body, {})


def test_images_behind_the_limit_are_left_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_images, "MAX_LEFT_BYTES", 1000)

    _, near = cut_images(b"x" * 950 + entry(B64).encode())
    left, far = cut_images(b"x" * 1000 + entry(B64).encode())

    assert (len(near), len(far)) == (1, 0)
    assert left.endswith(entry(B64).encode())


def test_of_more_than_a_hundred_images_the_rest_is_left() -> None:
    left, payloads = cut_images(b'"b64_json":"A"' * 101)

    assert len(payloads) == 100
    assert left.endswith(b'<image 100>""b64_json":"A"')


@pytest.mark.parametrize("text", ["\\", "\\u00", '"', "'\\", "=", "\\n", " "])
def test_a_long_body_of_the_same_characters_takes_no_longer_than_others(text: str) -> None:
    _, images = outcome(b'{"b64_json":"A' + text.encode() * 500_000)

    assert [data for _, data, _ in images] == [b""]


WHITE_SPACE = st.lists(st.tuples(st.integers(0, 400), st.sampled_from([" ", "\n", "\r\n", "\t", "\n\n\n\n\n"])))
PREFIXES = st.sampled_from(
    ["", "data:,", "data:image/png;base64,", "DATA:image/jpeg;charset=utf-8;base64,", "\n data:,"]
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.booleans(), st.integers(0, 2), WHITE_SPACE, PREFIXES)
def test_every_spelling_of_base64_is_read(
    data: bytes, for_urls: bool, padding_less: int, spaces: list[tuple[int, str]], prefix: str
) -> None:
    text = (base64.urlsafe_b64encode if for_urls else base64.b64encode)(data).decode()
    for _ in range(padding_less):
        text = text.removesuffix("=")
    for position, space in spaces:
        text = text[:position] + space + text[position:]

    payload = decode_base64((prefix + text).encode())

    assert (payload.data, payload.problem) == (data, None)


@settings(max_examples=300, deadline=None)
@given(st.text("AQU/-=\n !\x00é", max_size=30))
def test_any_text_is_read_up_to_the_first_foreign_character(text: str) -> None:
    payload = decode_base64(text.encode())

    digits = text.replace("\n", "").replace(" ", "").replace("-", "+")
    readable = digits[: len(digits) - len(digits.lstrip("AQU/+"))]
    usable = readable[: len(readable) - (len(readable) % 4 == 1)]
    assert payload.data == base64.b64decode(usable + "==")
    assert bool(payload.problem) == bool(digits[len(readable) :].strip("="))


@pytest.mark.parametrize(
    ("text", "data"),
    [("QUJD****QUJD", b"ABC"), ("QUJDQU!D", b"ABCA"), ("QQ==QUJD", b"A"), ("QUJDQ\\xQ", b"ABC"), ("\xa0QUJD", b"")],
)
def test_what_comes_before_a_problem_is_kept(text: str, data: bytes) -> None:
    payload = decode_base64(text.encode())

    assert payload.data == data
    assert payload.error is not None
    assert payload.error.__traceback__ is None  # it would hold the whole body
    assert payload.problem == f"a character that is not base64 after {len(data)} bytes"
    assert repr(payload).startswith(f"Payload(data=<{len(data)} bytes>, format=None, ")


@pytest.mark.parametrize("text", ["Q", "QUJDQ", "Q===", "===="])
def test_a_lonely_character_is_dropped(text: str) -> None:
    payload = decode_base64(text.encode())

    assert payload.problem is None
    assert payload.data == b"ABC" * (len(text) == 5)
