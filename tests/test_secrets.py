"""The API key must not appear in anything that a user, a log or another host can see."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from aimlapi_images import GeneratedImage, ImageClient, RetryPolicy, aiohttp_transport, cli, errors
from aimlapi_images.api.auth import BearerAuth
from conftest import PIXEL, PIXEL_ANSWER
from misbehaving import Behaviour, MisbehavingServer, Reply, Request, link, nobody, reply
from test_faults import FAULTS, HTML, Fault

MARKED = "sk-marked-Zq7Xw9Kv3Jp5Rt1Ny8Lm2"
# Every other fault, without the large and slow ones, to save time.
WALKED = [
    fault for fault in FAULTS if fault.name not in ("101 MiB", "header flood", "too large", "one byte at a time")
][::2]


def _echo(status: int, retry_after: int = 3600) -> Behaviour:
    """Repeat the key in the response's headers and body."""

    def behave(_: MisbehavingServer, request: Request) -> Reply:
        key = request.headers["authorization"]
        body = {"message": f"You sent {key}", "requestId": key, "error": {"message": key}, "meta": [{"message": key}]}
        headers = {"X-Inference-Id": key, "X-Echo": key, "Set-Cookie": f"key={key}", "Retry-After": f"{retry_after}"}
        return reply(status, body, headers)

    return behave


def _echo_text(status: int) -> Behaviour:
    return lambda _, request: reply(status, HTML + request.head)


ECHOED_IN_HEADERS = [
    *(Fault(f"echo {status}", [_echo(status)]) for status in (200, 301, 400, 401, 403, 404, 429, 500, 503, 520, 524)),
    Fault("echo in 429s", [_echo(429, 0), reply(200, PIXEL_ANSWER)]),
]
ECHOED_AS_TEXT = [Fault(f"echo as text {status}", [_echo_text(status)]) for status in (200, 400, 401, 502, 524)]
ECHOES = ECHOED_IN_HEADERS + ECHOED_AS_TEXT


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The output of all loggers at DEBUG, with arguments and tracebacks."""
    said: list[str] = []
    formatter = logging.Formatter("%(name)s %(message)s")

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(f"{formatter.format(record)} {record.__dict__!r}")

    root, handler = logging.getLogger(), Keep(level=logging.DEBUG)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield said
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.mark.parametrize("fault", [*WALKED, *ECHOES], ids=lambda fault: fault.name)
async def test_the_key_appears_nowhere(
    fault: Fault, logged: list[str], recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]
) -> None:
    asyncio.get_running_loop().set_debug(True)
    retry = RetryPolicy(attempts=2, first_wait=0.0, longest_retry_after=1.0)
    with MisbehavingServer(fault.posts, fault.gets) as server:
        async with ImageClient(
            MARKED, base_url=server.origin, **{"timeout": 5, "retry": retry, **fault.options}
        ) as client:
            (result,) = await asyncio.gather(client.generate("x"), return_exceptions=True)
            seen = [*_texts(client), *_texts(result)]

    assert MARKED in server.requests[0].headers["authorization"]
    assert any("send_request_headers" in line for line in logged)
    out = capfd.readouterr()
    _assert_unmarked([*seen, *_ours(logged), *(str(warning.message) for warning in recwarn), out.out, out.err])
    _assert_unmarked([request.head.decode("latin-1") for request in server.requests if request.method == "GET"])


@pytest.mark.parametrize("make", [lambda: None, aiohttp_transport], ids=["httpx", "aiohttp"])
async def test_a_key_in_place_of_a_status_line_is_in_no_error(
    make: Callable[[], httpx.AsyncBaseTransport | None], logged: list[str]
) -> None:
    """Which no client understands, so that the transport's own error shows it."""

    def echo(_: MisbehavingServer, request: Request) -> Reply:
        return Reply([f"{request.headers['authorization']}\r\n\r\n".encode()])

    with MisbehavingServer([echo]) as server:
        async with ImageClient(MARKED, base_url=server.origin, transport=make()) as client:
            (result,) = await asyncio.gather(client.generate("x"), return_exceptions=True)

    assert isinstance(result, errors.OutcomeUnknownError)
    assert "[API key]" in str(result)
    _assert_unmarked([*_texts(result), *_ours(logged)])


async def test_a_response_without_an_image_is_shown_without_the_key() -> None:
    answer = {"data": [{"b64_json": "", "error": "Not for " + MARKED}], "why": "é" * 1000}
    with MisbehavingServer([reply(200, answer)]) as server:
        async with ImageClient(MARKED, base_url=server.origin) as client:
            with pytest.raises(errors.NoImageError) as caught:
                await client.generate("x")

    assert caught.value.body == {"data": [{"b64_json": "", "error": "Not for [API key]"}], "why": "é" * 1000}
    assert 'Received: {"data": [{"b64_json": "", "error": "Not for [API key]"}], "why": "éé' in str(caught.value)
    assert len(str(caught.value)) < 400
    _assert_unmarked(_texts(caught.value))


ESCAPED_KEY = "sk/marked+Zq7Xw9Kv3Jp5Rt1\\Ny8%Lm2"
ESCAPES: list[Callable[[str], str]] = [
    lambda key: key,
    lambda key: json.dumps(key)[1:-1],
    lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    lambda key: "".join(f"\\u{ord(each):04x}" for each in key),
    lambda key: "".join(each if each.isalnum() else f"\\u{ord(each):04X}" for each in key),
    lambda key: quote(key, safe=""),
    lambda key: "".join(f"%{ord(each):02x}" for each in key),
]


@pytest.mark.parametrize("escape", ESCAPES)
async def test_an_escaped_key_that_a_server_repeats_is_redacted(
    escape: Callable[[str], str], logged: list[str]
) -> None:
    repeated = escape(ESCAPED_KEY)
    body = b'{"message": "You sent %s."}' % repeated.encode()
    headers = {"Location": f"https://a.example/?key={repeated}"}
    with MisbehavingServer([reply(400, body, headers), reply(200, body, headers), reply(302, b"", headers)]) as server:
        async with ImageClient(ESCAPED_KEY, base_url=server.origin) as client:
            results = await asyncio.gather(*(client.generate("x") for _ in range(3)), return_exceptions=True)

    assert len(server.requests) == 3
    seen = [text for result in results for text in _texts(result)]
    assert any("[API key]" in text for text in seen)
    assert [text for text in [*seen, *_ours(logged)] if any(each in text for each in (ESCAPED_KEY, repeated))] == []


async def test_this_package_does_not_log_a_key_that_a_server_repeats_in_a_header(logged: list[str]) -> None:
    with MisbehavingServer([_echo(401)]) as server:
        async with ImageClient(MARKED, base_url=server.origin) as client:
            await asyncio.gather(client.generate("x"), return_exceptions=True)

    _assert_unmarked(_ours(logged))


async def test_errors_of_orders_that_were_not_sent_do_not_contain_the_key(logged: list[str]) -> None:
    with nobody() as origin:
        async with ImageClient(MARKED, base_url=origin, retry=RetryPolicy(attempts=1)) as client:
            refused, wrong = await asyncio.gather(
                client.generate("x"), client.generate("x", output_compression=500), return_exceptions=True
            )
    closed = (await asyncio.gather(client.generate("x"), return_exceptions=True))[0]

    assert isinstance(refused, errors.ConnectionFailedError)
    assert isinstance(wrong, errors.InvalidRequestError)
    assert isinstance(closed, errors.InvalidRequestError)
    _assert_unmarked([*_texts(refused), *_texts(wrong), *_texts(closed), *logged])


@pytest.mark.parametrize("key", [f"{MARKED} {MARKED}", f"{MARKED}\n{MARKED}", f"{MARKED}é"])
def test_the_error_for_an_invalid_key_does_not_contain_it(key: str) -> None:
    with pytest.raises(errors.InvalidRequestError) as caught:
        ImageClient(key)

    _assert_unmarked([str(caught.value), repr(caught.value)])


async def test_another_host_never_gets_the_key() -> None:
    seen: list[httpx.Request] = []

    def host(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.host == "cdn.example":
            return httpx.Response(302, headers={"Location": "https://other.example/a.png", "Set-Cookie": "a=b"})
        return httpx.Response(200, content=PIXEL)

    with MisbehavingServer([reply(200, {"data": [{"url": "https://cdn.example/a.png"}]})]) as server:
        hosts = httpx.MockTransport(host)
        headers = {"X-Own": MARKED}
        async with ImageClient(MARKED, base_url=server.origin, download_transport=hosts, headers=headers) as client:
            image = await client.generate("x")

    assert image.data == PIXEL
    assert [request.url.host for request in seen] == ["cdn.example", "other.example"]
    _assert_unmarked([f"{request.url} {request.headers.raw!r}" for request in seen])


@pytest.mark.parametrize("answer", [_echo(401), _echo_text(400), link("/a.png"), reply(200, PIXEL_ANSWER)])
def test_the_command_never_shows_the_key(
    answer: Behaviour, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIMLAPI_API_KEY", MARKED)
    with MisbehavingServer([answer]) as server:
        monkeypatch.setenv("AIMLAPI_API_BASE", server.origin)
        monkeypatch.setattr("sys.argv", ["aimlapi-images", "generate", "a fox", "--json"])
        with contextlib.suppress(SystemExit):
            cli.main()

    out = capfd.readouterr()
    assert server.count("POST") >= 1
    assert out.out or out.err
    _assert_unmarked([out.out, out.err, *(path.read_bytes().decode("latin-1") for path in tmp_path.iterdir())])


def test_objects_with_the_key_cannot_be_pickled() -> None:
    for each in (ImageClient(MARKED), BearerAuth(MARKED, httpx.URL("https://api.example"))):
        with pytest.raises(TypeError) as caught:
            pickle.dumps(each)
        _assert_unmarked([str(caught.value)])


def test_a_client_refuses_another_event_loop_without_showing_the_key() -> None:
    with MisbehavingServer([reply(200, PIXEL_ANSWER)]) as server:
        client = ImageClient(MARKED, base_url=server.origin)
        first = asyncio.run(client.generate("x"))
        with pytest.raises(
            errors.InvalidRequestError, match=r"another event loop: make one for each asyncio\.run"
        ) as caught:
            asyncio.run(client.generate("x"))

    assert isinstance(first, GeneratedImage)
    assert server.count("POST") == 1
    _assert_unmarked(_texts(caught.value))


def _texts(thing: object) -> list[str]:
    """Every text form of an object: of itself, of its attributes, and of its causes."""
    texts = [text for each in _reachable(thing) for text in (repr(each), str(each))]
    if isinstance(thing, BaseException):
        texts += traceback.format_exception(thing)
        file = io.StringIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traceback.print_exception(thing, file=file, chain=True)
        texts.append(file.getvalue())
    if isinstance(thing, errors.ImageError | GeneratedImage):
        stored = pickle.dumps(thing)
        texts += [stored.decode("latin-1"), repr(vars(pickle.loads(stored)) if hasattr(thing, "__dict__") else "")]
    return texts


def _reachable(thing: object, seen: dict[int, object] | None = None) -> list[object]:
    """The object, and everything reachable through attributes of this package's classes."""
    seen = {} if seen is None else seen
    if id(thing) in seen or isinstance(thing, str | bytes | int | float | type | None):
        return []
    seen[id(thing)] = thing
    inner: list[object] = []
    if isinstance(thing, BaseException):
        inner += [thing.__cause__, thing.__context__, thing.args, getattr(thing, "__notes__", None)]
        if isinstance(thing, httpx.RequestError):  # which Dask, for one, pickles with its cause
            inner.append(dict(thing.request.headers))
    if isinstance(thing, dict):
        inner += thing.values()
    elif isinstance(thing, list | tuple | set | frozenset):
        inner += thing
    elif type(thing).__module__.startswith("aimlapi_images") or isinstance(thing, BaseException):
        inner += getattr(thing, "__dict__", {}).values()
        inner += [getattr(thing, name, None) for name in getattr(type(thing), "__slots__", ())]
    return [thing, *(each for part in inner for each in _reachable(part, seen))]


def _ours(logged: list[str]) -> list[str]:
    """All lines except those in which httpcore, at DEBUG, logs response headers as the server sent them."""
    return [line for line in logged if "receive_response_headers" not in line]


def _assert_unmarked(texts: list[str]) -> None:
    assert [text for text in texts if MARKED in text] == []
