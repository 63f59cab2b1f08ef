"""Any response gives the caller an image or an `ImageError`."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from aimlapi_images import GeneratedImage, ImageClient, ImageError
from conftest import KEY, PIXEL, PIXEL_ANSWER
from virtual_time import run_in_virtual_time

PAYLOAD = PIXEL_ANSWER["data"][0]["b64_json"] or ""
NAMES = (
    "data",
    "url",
    "b64_json",
    "meta",
    "usage",
    "error",
    "message",
    "code",
    "credits_used",
    "usd_spent",
    "requestId",
)
HEADERS = (
    "retry-after",
    "retry-after-ms",
    "x-aimlapi-credits-used",
    "x-aimlapi-usd-spent",
    "location",
    "content-range",
)
VALUES = (
    "",
    "1",
    "-1",
    "nan",
    "inf",
    "soon",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Mon, 99 Foo 0000",
    "https://x/y",
    "//",
    "é",
)

leaves = st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(["", "x", "https://a/b", PAYLOAD])
trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner))
shaped = st.fixed_dictionaries(
    {"data": st.lists(st.fixed_dictionaries({"url": trees, "b64_json": trees}), max_size=2), "meta": trees}
)
bodies = st.binary(max_size=60) | (trees | shaped).map(lambda tree: json.dumps(tree).encode())
answers = st.tuples(
    st.sampled_from([200, 200, 200, 201, 204, 206, 302, 400, 401, 403, 404, 429, 500, 503, 504, 524, 530]),
    st.dictionaries(st.sampled_from(HEADERS), st.sampled_from(VALUES)),
    bodies,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(answers, min_size=1, max_size=4))
def test_any_response_gives_an_image_or_an_image_error(script: list[tuple[int, dict[str, str], bytes]]) -> None:
    turns = iter(script)

    def handler(request: httpx.Request) -> httpx.Response:
        status, headers, body = next(turns, script[-1])
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        return httpx.Response(status, headers=encoded, content=body)

    async def main() -> GeneratedImage | ImageError:
        async with ImageClient(KEY, transport=httpx.MockTransport(handler), deadline=600) as client:
            try:
                return await client.generate("x")
            except ImageError as error:
                return error

    result = run_in_virtual_time(main())

    assert isinstance(result, GeneratedImage | ImageError)


SPELLINGS = {
    "plain": lambda data: base64.b64encode(data).decode(),
    "for URLs": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    "in lines": lambda data: base64.encodebytes(data).decode(),
    "data URL": lambda data: f"data:image/png;base64,{base64.b64encode(data).decode()}",
}
beside = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(["", " "]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
)
wrappings = st.lists(st.tuples(st.sampled_from(["list", "image", "result", *NAMES]), beside), max_size=4)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(list(SPELLINGS)),
    wrappings,
    st.sampled_from([b"", b"\xef\xbb\xbf", b")]}'\n", b"data: "]),
    st.sampled_from([b"", b"\n<html>\xff", b"\0"]),
    st.booleans(),
    st.integers(0, 200),
)
def test_a_whole_image_is_delivered_wherever_it_stands_and_whatever_is_broken_around_it(
    spelling: str, wrapping: list[tuple[str, Any]], before: bytes, after: bytes, raw: bool, cut: int
) -> None:
    document: Any = SPELLINGS[spelling](PIXEL)
    for name, other in wrapping:
        document = [other, document] if name == "list" else {"other": other, name: document}
    text = json.dumps(document)
    text = text.replace("\\n", "\n") if raw else text
    last = text.rindex("QmCC") + 4  # the last characters of the image
    body = before + text[: last + cut].encode() + after

    async def main() -> GeneratedImage:
        transport = httpx.MockTransport(lambda request: httpx.Response(200, content=body))
        async with ImageClient(KEY, transport=transport) as client:
            return await client.generate("x")

    assert run_in_virtual_time(main()).data == PIXEL
