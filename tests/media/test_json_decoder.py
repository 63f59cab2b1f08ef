"""Bodies in chunks of any size decode in the same way, and no fault around an image loses it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimlapi_images.media import json_decoder
from aimlapi_images.media.json_decoder import BodyDecoder, BodyTooLargeError
from conftest import PIXEL

B64 = base64.b64encode(PIXEL).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(range(256))).decode()  # has slashes and pluses
WEBP = base64.b64encode(b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(20)).decode()
GIF = base64.b64encode(b"GIF89a" + bytes(20)).decode()


def fed(pieces: Iterable[bytes]) -> BodyDecoder:
    decoder = BodyDecoder()
    for piece in pieces:
        decoder.feed(piece)
    return decoder


def pieces_of(body: bytes, lengths: list[int]) -> Iterable[bytes]:
    position = turn = 0
    while position < len(body):
        length = lengths[turn % len(lengths)]
        yield body[position : position + length]
        position, turn = position + length, turn + 1


def outcome(pieces: Iterable[bytes]) -> tuple[Any, list[tuple[str, bytes, bool]]]:
    """The document, and each image's name, bytes, and whether there was a problem."""
    decoder = fed(pieces)
    document = decoder.finish()
    payloads = decoder.payloads.items()
    return document, [(name, each.data, each.problem is not None) for name, each in payloads]


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
def test_an_image_is_found_wherever_the_body_is_cut(body: str, document: Any, images: list[bytes]) -> None:
    raw = body.encode()
    expected = (document, [(f"<image {number}>", data, False) for number, data in enumerate(images, 1)])

    assert outcome([raw]) == expected
    if len(raw) < 5_000:
        assert outcome(raw[i : i + 1] for i in range(len(raw))) == expected
    for cut in range(0, min(len(raw), 5_000), 1 if len(raw) < 400 else 99):
        assert outcome([raw[:cut], raw[cut:]]) == expected, cut


@pytest.mark.parametrize("size", [1, 3, 5, 1000])
@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b"\xef\xbb\xbf" + entry("QUJD").encode(), {"data": [{"b64_json": "<image 1>", "url": None}]}),
        (b'{"a\xff": "\xc3", "b64_json": "QUJD"}', {"a\ufffd": "\ufffd", "b64_json": "<image 1>"}),
        (b'{"a": "\xed\xa0\x80", "b64_json": "QUJD"}', {"a": "\ufffd\ufffd\ufffd", "b64_json": "<image 1>"}),
    ],
)
def test_broken_text_around_an_image_does_not_matter(body: bytes, document: Any, size: int) -> None:
    assert outcome(pieces_of(body, [size])) == (document, [("<image 1>", b"ABC", False)])


@pytest.mark.parametrize("size", [1, 3, 5, 1000])
def test_an_image_in_place_of_json_is_taken_as_it_is(size: int) -> None:
    assert outcome(pieces_of(PIXEL, [size])) == (None, [("<image 1>", PIXEL, False)])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(
    "text", ["QUJD!QUJD", "QUJD\\xQUJD", 'QUJD\\"QUJD', "QUJD\\\\", "QUJD\xff", "QUJD\\ud83d\\ude00", "QUJD\\u00"]
)
def test_a_broken_image_keeps_what_came_before(text: str, size: int) -> None:
    body = entry(text).encode()

    _, ((name, data, _),) = outcome(pieces_of(body, [size]))

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
CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=8)


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
@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 1]), st.booleans(), CUTS)
def test_any_document_in_any_pieces(
    document: Any, ascii_only: bool, indent: int | None, slashes: bool, cuts: list[int]
) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    body = (text.replace("/", "\\/") if slashes else text).encode()
    images: list[bytes] = []
    expected = without_images(document, images)

    found, payloads = outcome(pieces_of(body, cuts))

    assert found == expected
    assert [data for _, data, _ in payloads] == images


TOKENS = ['{"data":[{"b64_json":"', '{"data":[', '"b64_json"', '"', "'", "(", "[", "]", "{", "}", ",", ":", "\\"]
TOKENS += ["\\u00", "41", "/9j/4AAQSkZJRg", B64, "QUJD", "=", "data:image/", "data:,", " ", "1", '"}]}', "\\ud800"]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=25).map("".join) | st.binary(max_size=120).map(repr), CUTS)
def test_any_mixture_in_any_pieces(text: str, cuts: list[int]) -> None:
    body = text.encode()

    assert repr(outcome(pieces_of(body, cuts))) == repr(outcome([body]))


def test_a_large_image_in_network_sized_chunks() -> None:
    data = bytes(range(256)) * 6000
    body = json.dumps({"data": [{"b64_json": base64.b64encode(data).decode()}], "meta": {}}).encode()

    decoder = fed(body[i : i + 65536] for i in range(0, len(body), 65536))

    assert decoder.payloads["<image 1>"].size == len(data)
    assert bytes(decoder.skeleton) == b'{"data": [{"b64_json": "<image 1>"}], "meta": {}}'


def test_a_body_that_is_not_json_is_kept_unchanged() -> None:
    body = b"<html>\n<h1>502 Bad Gateway</h1>" + bytes([0xFF])
    decoder = fed([body])

    assert decoder.finish() is None
    assert bytes(decoder.skeleton) == body


def test_an_image_above_the_limit_is_a_problem_and_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_decoder, "MAX_PAYLOAD_BYTES", 1000)
    large = [b'{"data":[{"b64_json":"', *[b"QUJD" * 100] * 100, b'"}, {"b64_json":"QUJD"}]}']
    first, second = fed(large).payloads.values()

    assert first.problem == "more than 1,000 bytes"
    assert first.size == len(first.data) <= 1000
    assert (second.problem, second.size) == (None, 3)


def test_an_image_at_the_limit_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_decoder, "MAX_PAYLOAD_BYTES", len(PIXEL))
    (payload,) = fed([entry(B64).encode()]).payloads.values()

    assert (payload.problem, payload.size) == (None, len(PIXEL))


@pytest.mark.parametrize(
    ("body", "limits", "message"),
    [
        (b'{"a":"' + b"x" * 1000 + b'"}', {"MAX_SKELETON_BYTES": 999}, "more than 999 bytes beside images"),
        (b"<html>" * 200, {"MAX_SKELETON_BYTES": 999}, "more than 999 bytes beside images"),
        (b"[" * 2000, {"MAX_SKELETON_BYTES": 999}, "more than 999 bytes beside images"),
        (b'{"data":[{"b64_json":"AAAAAAAAA', {"MAX_BODY_BYTES": 30}, "more than 30 bytes"),
        (b'{"b64_json":"A"}' * 101, {}, "more than 100 images"),
    ],
)
def test_everything_has_a_limit(
    monkeypatch: pytest.MonkeyPatch, body: bytes, limits: dict[str, int], message: str
) -> None:
    for name, limit in limits.items():
        monkeypatch.setattr(json_decoder, name, limit)
    with pytest.raises(BodyTooLargeError, match=message):
        fed([body])


@pytest.mark.parametrize("text", ["\\", "\\u00", '"', "'\\", "=", "\\n", " "])
def test_a_long_body_of_the_same_characters_takes_no_longer_than_others(text: str) -> None:
    _, images = outcome(pieces_of(b'{"b64_json":"A' + text.encode() * 500_000, [65_536]))

    assert [data for _, data, _ in images] == [b""]
