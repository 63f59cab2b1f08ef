"""Responses in chunks of any size decode as `json` and `base64` decode them whole."""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aimlapi_images.media.base64_decoder import Payload
from aimlapi_images.media.json_decoder import BodyDecoder, BodyTooLargeError, NotJSONError
from conftest import PIXEL

B64 = base64.b64encode(PIXEL).decode()
BROKEN = "a payload with a problem"
NO_JSON = "not JSON"


def decoded(pieces: Iterable[bytes]) -> tuple[Any, BodyDecoder[io.BytesIO]]:
    decoder = BodyDecoder(io.BytesIO)
    for piece in pieces:
        decoder.feed(piece)
    return decoder.finish(), decoder


def outcome(pieces: Iterable[bytes]) -> Any:
    """The document with each image's bytes in place of its payload."""
    try:
        document, _ = decoded(pieces)
    except NotJSONError:
        return NO_JSON
    for entry in entries_of(document):
        if isinstance(entry["b64_json"], Payload):
            payload = entry["b64_json"]
            data = payload.sink.getvalue()
            assert payload.size == len(data)
            entry["b64_json"] = data if payload.problem is None else BROKEN
    return document


def entries_of(document: Any) -> list[dict[str, Any]]:
    data = document.get("data") if isinstance(document, dict) else None
    entries = data if isinstance(data, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and "b64_json" in entry]


def reference(body: bytes) -> Any:
    """The same from the standard library."""
    try:
        document = json.loads(body.decode("utf-8-sig", "surrogatepass"))
    except (ValueError, RecursionError):
        return NO_JSON
    for entry in entries_of(document):
        if isinstance(entry["b64_json"], str):
            entry["b64_json"] = reference_bytes(entry["b64_json"])
    return document


def reference_bytes(text: str) -> Any:
    if text[:5].lower() == "data:" and "," in text[:256]:
        text = text.partition(",")[2]
    if "=" not in text:
        text += "=" * (-len(text) % 4)
    try:
        # Some versions of the standard library accept excess padding.
        return base64.b64decode(text, validate=True) if len(text) % 4 == 0 else BROKEN
    except (binascii.Error, ValueError):
        return BROKEN


def same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)  # NaN is not equal to itself


def entry(b64: str, more: str = "") -> str:
    return '{"data":[{"b64_json":%s%s}]}' % (b64, more)  # noqa: UP031 - braces


BODIES = [
    # as the API answers
    entry(f'"{B64}"', ', "url": null'),
    '{"created": 1, "data": [{"url": null, "revised_prompt": "fox", "b64_json": "' + B64 + '"}], "usage": {"a": [1]}}',
    entry("null", ', "url": "https://cdn.example/a.png"'),
    entry('""'),
    '{"data": null, "meta": null}',
    '{"data": []}',
    '{"message": "Body validation error!", "meta": [{"b64_json": "QUJD"}]}',
    # several, in any order, with any white space
    f'{{"data":[{{"b64_json":"QUJD"}},{{"url":"u"}},'
    f'{{"b64_json":null}},{{"x":[{{"b64_json":"no"}}],"b64_json":"{B64}"}}]}}',
    f'\n\t {{ "meta" : {{"b64_json":"!"}} , \r\n "data"\n:\n[\n{{\n"b64_json"\n:\n"{B64}"\n}}\n,\n3'
    ', "b64_json", [{"b64_json":"!"}] ]\n} \n',
    # the same key elsewhere
    '{"data":[{"prompt":"\\"b64_json\\":\\"!\\"","b64_json":"QUJD"}]}',
    '{"data":[{"b64_json":{"b64_json":"!"}}, {"b64_json":["!"]}, {"b64_json":7}, {"b64_json":"QUJD"}]}',
    '{"data":{"b64_json":"!", "data":[{"b64_json":"!"}]}, "b64_json":"!", "more":{"data":[{"b64_json":"!"}]}}',
    '[{"data":[{"b64_json":"!"}]}]',
    '{"data":[[{"b64_json":"!"}],"b64_json",{"a":"b64_json","b":"!"}]}',
    '{"x":"data","y":[{"b64_json":"!"}],"data":[{"b64_json":"QUJD"}]}',
    # duplicate and escaped keys
    '{"data":[{"b64_json":"!"}],"data":[{"b64_json":"AAAA","b64_json":"QUJD"}]}',
    '{"d\\u0061ta":[{"b64\\u005fjson":"QUJD"}]}',
    '{"data\\u0000":[{"b64_json":"!"}], "\\ud800":1}',
    # escapes
    entry('"QU\\u004a\\u0044"'),
    entry('"+\\/\\/+"'),
    entry('"+\\/\\u002f+"'),
    entry('"\\\\/AAA"'),
    entry('"QUJD\\nQUJD"'),
    entry('"QUJD\\"QUJD"'),
    entry('"\\\\"'),
    entry('"QUJD\\ud83d\\ude00"'),
    entry('"\\\\u0041"'),
    # padding
    *(entry(f'"{text}"') for text in ("QQ==", "QQ", "QUI=", "QUI", "Q", "QQ=", "QQ===", "Q===", "====", "=", "AB==")),
    *(entry(f'"{text}"') for text in ("QUJD=", "QUJD==", "QQ==QQ==", "QUI=QUJD", "QQ=Q", "QUJDQUJDQQ==QUJDQUJD")),
    # other alphabets, other characters
    *(entry(f'"{text}"') for text in ("-_-_", "QUJD ", " QUJD", "QU JD", "QUJDé", "QUJD😀", "QUJ\x7f")),
    # data URLs
    *(entry(f'"{prefix}{B64}"') for prefix in ("data:image/png;base64,", "DATA:,", "data:,data:,", "data:;", "datA")),
    *(entry(f'"{text}"') for text in ("data:", "data:,", "dat", "data", "d", "data:image\\/png;base64,QUJD")),
    entry(f'"data:{"x" * 249},QUJD"'),
    entry(f'"data:{"x" * 250},QUJD"'),
    entry(f'"data:{"x" * 251},QUJD"'),
    # not JSON, or unusual JSON
    "",
    " ",
    "null",
    '"x"',
    "<html>\n<p>nginx</p></html>",
    "{}",
    "{",
    '{"data":[{"b64_json":"QUJD',
    '{"data":[{"b64_json":"QUJD"',
    '{"data":[{"b64_json":"QUJD"}]} {}',
    '{"data":[{"b64_json" "QUJD"}]}',
    '{"data":[{"b64_json":"QUJD" "QUJD"}]}',
    '{"data":[{"b64_json":"QUJD",}]}',
    '{"data" [{"b64_json":"QUJD"}]}',
    '}]{"data":[{"b64_json":"QUJD"}]}',
    '{"data":[{"a\nb":1,"\\x":2,"b64_json":"QUJD"}]}',
    '{"\\x":[], "data":[{"b64_json":"QUJD"}]}',
    '{"a": NaN, "b": -Infinity, "c": 1e999, "data":[{"b64_json":"QUJD"}]}',
    '{"a": ' + "1" * 5000 + "}",
    '{"a": ' + "[" * 2000 + "]" * 2000 + "}",
    '{"a": "' + "\\u1234\\n" * 200 + '", "data":[{"b64_json":"QUJD"}]}',
]


@pytest.mark.parametrize(
    "body", [body.encode() for body in BODIES], ids=lambda body: body[:40].decode(errors="replace")
)
def test_the_result_equals_the_standard_librarys_wherever_the_body_is_cut(body: bytes) -> None:
    expected = reference(body)

    assert same(expected, outcome([body]))
    assert same(expected, outcome(body[i : i + 1] for i in range(len(body))))
    for cut in range(0, len(body), 1 if len(body) < 400 else 99):
        assert same(expected, outcome([body[:cut], body[cut:]])), cut


def test_a_byte_order_mark_is_skipped() -> None:
    body = f'{{"prompt": "ein Fuchs 🦊 äöü", "data": [{{"b64_json": "{B64}"}}]}}'.encode("utf-8-sig")

    assert reference(body)["data"] == [{"b64_json": PIXEL}]
    assert reference(body) == outcome([body])
    assert reference(body) == outcome(body[i : i + 1] for i in range(len(body)))


@pytest.mark.parametrize(
    "body",
    [
        '{"data":[]}'.encode("utf-16"),
        '{"data":[]}'.encode("utf-16-be"),
        '{"data":[]}'.encode("utf-32-le"),
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b'{"\xff": 1}',
        b'{"data":[{"b64_\xff":1, "b64_json":"QUJD"}]}',
        b'{"data":[{"b64\\u005f\xff":1}]}',
        b'\x00\x00\x00\x18ftypavif, and what else an image has: "\xff\xff\xff\xff',
        b"{\x00",
        b"\xef",
        b"\xef\xbb\xbf",
    ],
)
def test_bytes_that_are_not_utf_8_are_not_json(body: bytes) -> None:
    assert NO_JSON == reference(body)  # noqa: SIM300 - expected before actual
    assert NO_JSON == outcome([body])  # noqa: SIM300
    assert NO_JSON == outcome(body[i : i + 1] for i in range(len(body)))  # noqa: SIM300


IN_JSON = st.text(st.sampled_from('QUJD+/=A9 "\\\n,:-é{}[]'), max_size=30) | st.text(max_size=10)
PAYLOADS = (
    st.binary(max_size=60).map(lambda data: base64.b64encode(data).decode())
    | st.binary(max_size=60).map(lambda data: base64.b64encode(data).decode().rstrip("="))
    | st.binary(max_size=60).map(lambda data: "data:image/png;base64," + base64.b64encode(data).decode())
    | IN_JSON
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | IN_JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["b64_json", "data", "a"]), inner),
    max_leaves=8,
)
ENTRIES = st.lists(
    st.dictionaries(st.sampled_from(["b64_json", "url", "b64\x00"]), PAYLOADS | PLAIN) | PLAIN, max_size=4
)
DOCUMENTS = st.fixed_dictionaries({}, optional={"created": PLAIN, "data": ENTRIES, "meta": PLAIN}) | PLAIN
CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=8)


def pieces_of(body: bytes, lengths: list[int]) -> Iterable[bytes]:
    position = turn = 0
    while position < len(body):
        length = lengths[turn % len(lengths)]
        yield body[position : position + length]
        position, turn = position + length, turn + 1


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 1]), st.booleans(), CUTS)
def test_any_document_in_any_pieces(
    document: Any, ascii_only: bool, indent: int | None, slashes: bool, cuts: list[int]
) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    body = (text.replace("/", "\\/") if slashes else text).encode("utf-8", "surrogatepass")

    assert same(reference(body), outcome(pieces_of(body, cuts)))


TOKENS = ['{"data":[{"b64_json":"', '{"data":[', '{"b64_json":', '"b64_json"', '"data"', "[", "]", "{", "}", ",", ":"]
TOKENS += ['"', "\\", "\\u00", "41", "/", "QUJD", "QQ==", "=", "data:,", " ", "null", "1", '"}]}', "\\ud800"]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=25), st.booleans(), CUTS)
@example(['{"data":[{"b64_json":"', "\\", "\\", '"', '"}]}'], True, [1])
@example(['{"data":[{"b64_json":"', "\\", "\\u00", "41", '"}]}'], True, [25, 1])
def test_any_mixture_of_tokens_in_any_pieces(tokens: list[str], closed: bool, cuts: list[int]) -> None:
    body = ("".join(tokens) + '"}]}' * closed).encode("utf-8", "surrogatepass")
    expected, actual = reference(body), outcome(pieces_of(body, cuts))

    if expected == NO_JSON and actual != NO_JSON:
        # An invalid escape in an image's string is a problem of that image only.
        assert BROKEN in [payload["b64_json"] for payload in entries_of(actual)] or len(decoded([body])[1].payloads) > 1
    else:
        assert same(expected, actual)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120), st.sampled_from([b"", b"{", b'{"data":[{"b64_json":"']), CUTS)
def test_any_bytes_at_all(junk: bytes, start: bytes, cuts: list[int]) -> None:
    body = start + junk
    whole = outcome([body])

    assert same(whole, outcome(pieces_of(body, cuts)))
    if start != b'{"data":[{"b64_json":"':
        assert same(reference(body), whole)


PROBLEMS = [
    ("QUJDQU!D", "a character that is not base64", 6),
    ("QUJ!", "a character that is not base64", 3),
    ("QUJDQUJDQUJ\\nDQUJDQUJD", "a character that is not base64", 11),
    ("data:image/png;base64,QUJDQU*D", "a character that is not base64", 6),
    ("QUJDQ", "base64 that is cut off, or wrongly padded", 5),
    ("QUJDQQ=", "base64 that is cut off, or wrongly padded", 7),
    ("QQ==QUJDQUJD", "a character that is not base64", 2),
    ("QUJD\\xQUJD", "an invalid escape sequence", 4),
    ("QUJDQU\nD", "a character that is not base64", 6),
    ("\\/\\/\\/\\/\\/\\u12", "an invalid escape sequence", 5),
    ("QUJDQUJ\xff", "a character that is not base64", 7),
    ("QUJDQU\\u0041\xff\xff\xff", "a character that is not base64", 7),
]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(("text", "problem", "position"), PROBLEMS)
def test_a_broken_image_has_a_problem_and_position_and_the_rest_is_read(
    text: str, problem: str, position: int, size: int
) -> None:
    body = entry(f'"{text}"', ',"url":"https://cdn.example/a.png"').encode("latin-1")

    document, decoder = decoded(body[i : i + size] for i in range(0, len(body), size))

    (payload,) = decoder.payloads
    assert (problem, position) == (payload.problem, payload.position)
    assert document["data"] == [{"b64_json": payload, "url": "https://cdn.example/a.png"}]
    assert payload.size == len(payload.sink.getvalue()) <= 12
    assert problem in repr(payload)


def test_only_the_first_problem_is_recorded() -> None:
    _, decoder = decoded([b'{"data":[{"b64_json":"!AAA', b'AAAA\\x"}]}'])

    assert decoder.payloads[0].problem == "a character that is not base64"


def test_a_large_image_in_network_sized_chunks() -> None:
    data = bytes(range(256)) * 6000
    body = json.dumps({"data": [{"b64_json": base64.b64encode(data).decode()}], "meta": {}}).encode()

    document, decoder = decoded(body[i : i + 65536] for i in range(0, len(body), 65536))

    assert document["data"][0]["b64_json"].sink.getvalue() == data
    assert document["meta"] == {}
    assert bytes(decoder.skeleton) == b'{"data": [{"b64_json": "0"}], "meta": {}}'


def test_a_body_that_is_not_json_is_kept_unchanged() -> None:
    body = b"<html>\n<h1>502 Bad Gateway</h1>" + bytes([0xFF])
    decoder = BodyDecoder(io.BytesIO)
    decoder.feed(body)

    with pytest.raises(NotJSONError, match="can't decode byte 0xff"):
        decoder.finish()

    assert bytes(decoder.skeleton) == body


def test_an_image_above_the_limit_is_a_problem_and_is_not_stored() -> None:
    decoder = BodyDecoder(io.BytesIO, max_payload=1000)
    decoder.feed(b'{"data":[{"b64_json":"')
    for _ in range(100):
        decoder.feed(b"QUJD" * 100)
    decoder.feed(b'"}, {"b64_json":"QUJD"}]}')
    decoder.finish()

    large, small = decoder.payloads
    assert large.problem == "more than 1,000 bytes"
    assert large.size == len(large.sink.getvalue()) <= 1000
    assert (small.problem, small.sink.getvalue()) == (None, b"ABC")


@pytest.mark.parametrize("body", [b'{"a":"' + b"x" * 1000 + b'"}', b"<html>" * 200, b"[" * 2000])
def test_the_skeleton_has_a_size_limit(body: bytes) -> None:
    decoder = BodyDecoder(io.BytesIO, max_skeleton=999)

    with pytest.raises(BodyTooLargeError, match="more than 999 bytes beside images"):
        decoder.feed(body)


def test_the_body_has_a_size_limit() -> None:
    decoder = BodyDecoder(io.BytesIO, max_body=30)
    decoder.feed(b'{"data":[{"b64_json":"AAAAAAAA')

    with pytest.raises(BodyTooLargeError, match="more than 30 bytes"):
        decoder.feed(b"A")


def test_an_image_at_the_limit_is_complete() -> None:
    decoder = BodyDecoder(io.BytesIO, max_payload=len(PIXEL))
    decoder.feed(entry(f'"{B64}"').encode())
    decoder.finish()

    assert decoder.payloads[0].problem is None
    assert decoder.payloads[0].sink.getvalue() == PIXEL
