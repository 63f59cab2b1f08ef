"""Faults on real sockets: the outcome and message of each, and how often the order was sent."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import ssl
import sys
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import httpx
import pytest
import trustme

from aimlapi_images import GeneratedImage, ImageClient, RetryPolicy, aiohttp_transport, errors
from aimlapi_images.api.aiohttp_transport import AiohttpTransport
from aimlapi_images.api.outcome import Outcome
from conftest import KEY, PIXEL, PIXEL_ANSWER
from misbehaving import DROP, RESET, SILENCE, Behaviour, MisbehavingServer, Reply, link, nobody, reply

QUICK = RetryPolicy(first_wait=0.0)
OK = reply(200, PIXEL_ANSWER)
PAYLOAD = base64.b64encode(PIXEL).decode()
IMPATIENT = {"timeout": httpx.Timeout(30, read=0.2)}
HTML = b"<html><h1>Oops</h1></html>"
DELIVERED = None

REFUSED, LATER, FAILED, UNKNOWN = Outcome.REFUSED, Outcome.LATER, Outcome.FAILED, Outcome.UNKNOWN

MakeClient = Callable[..., ImageClient]


@pytest.fixture(params=[None, aiohttp_transport], ids=["default", "aiohttp"])
def make_client(request: pytest.FixtureRequest) -> MakeClient:
    """Returns a function that makes clients, for each transport that uses sockets."""

    def make(base_url: str, **options: Any) -> ImageClient:
        transport = request.param and request.param()
        return ImageClient(KEY, base_url=base_url, transport=transport, **{"retry": QUICK, "timeout": 10, **options})

    return make


@attrs.frozen
class Fault:
    """A fault, and what is expected of the client.

    Attributes:
        name: Name of the test case.
        posts: The server's behavior for each POST. The last one repeats.
        outcome: How the order ends; delivered if `None`.
        kind: Class of the error.
        message: A pattern that matches its message.
        sent: Expected number of POSTs.
        gets: The server's behavior for each GET, which downloads an image.
        fetched: Expected number of GETs.
        options: Arguments of the client.
    """

    name: str
    posts: Sequence[Behaviour]
    outcome: Outcome | None = DELIVERED
    kind: type[errors.ImageError] = errors.ImageError
    message: str = ""
    sent: int = 1
    gets: Sequence[Behaviour] = ()
    fetched: int = 0
    options: dict[str, Any] = attrs.field(factory=dict)


def _says(message: str) -> dict[str, Any]:
    return {"message": message, "path": "/v1/images/generations", "requestId": "r-1"}


def _entry(**fields: object) -> Reply:
    return reply(200, {"data": [fields]})


def _later(**headers: str) -> Reply:
    return reply(429, _says("Too Many Requests"), {name.replace("_", "-"): value for name, value in headers.items()})


def _chunked(body: bytes) -> bytes:
    half = len(body) // 2
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    return b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


_JSON = json.dumps(PIXEL_ANSWER).encode()
_FLOOD = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-Flood-%d: %s\r\n" % (number, b"x" * 1000) for number in range(500))
_ENDLESS = Reply([b"HTTP/1.1 200 OK\r\n\r\n" + b'{"data": "', *[bytes(2**20).replace(b"\0", b"A")] * 101])
_NO_ANSWER = "sent, but no complete answer came.*may have been billed"
_NO_IMAGE = "without an image"
_NOT_AN_IMAGE = "not a valid image"
_CUT = "not a valid image: .* bytes, cut off before the end of the png"
_PAID = "generated and paid for, but could not be fetched"

ANSWERS = [
    # Delivered, in any encoding.
    Fault("plain", [OK]),
    Fault("gzip", [reply(200, gzip.compress(_JSON), {"Content-Encoding": "gzip"})]),
    Fault("chunked", [Reply([_chunked(_JSON)])]),
    Fault("one byte at a time", [Reply([bytes([byte]) for byte in b"".join(OK.pieces)])]),
    Fault("100 Continue first", [Reply([b"HTTP/1.1 100 Continue\r\n\r\n", *OK.pieces])]),
    Fault("103 Early Hints first", [Reply([b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", *OK.pieces])]),
    Fault("no length, until it closes", [Reply([b"HTTP/1.1 200 OK\r\n\r\n", _JSON])]),
    Fault("201", [reply(201, PIXEL_ANSWER)]),
    Fault("wrong content type", [reply(200, PIXEL_ANSWER, {"Content-Type": "text/html"})]),
    Fault("wrong charset", [reply(200, PIXEL_ANSWER, {"Content-Type": "application/json; charset=klingon"})]),
    Fault("empty b64_json beside a URL", [link("/a.png", b64_json="")], gets=[reply(200, PIXEL)], fetched=1),
    # The connection fails.
    Fault("drop", [DROP], UNKNOWN, errors.OutcomeUnknownError, _NO_ANSWER),
    Fault("reset", [RESET], UNKNOWN, errors.OutcomeUnknownError, _NO_ANSWER),
    Fault("silence", [SILENCE], UNKNOWN, errors.OutcomeUnknownError, _NO_ANSWER, options=IMPATIENT),
    Fault("drop in the head", [Reply([b"HTTP/1.1 200 OK\r\nConte"])], UNKNOWN, errors.OutcomeUnknownError, _NO_ANSWER),
    Fault("drop in the body", [reply(200, PIXEL_ANSWER, cut=40)], UNKNOWN, errors.OutcomeUnknownError, _NO_ANSWER),
    Fault("drop in a chunk", [Reply([_chunked(_JSON)[:150]])], UNKNOWN, errors.OutcomeUnknownError, _NO_ANSWER),
    Fault(
        "silence in the body",
        [Reply(reply(200, PIXEL_ANSWER, cut=40).pieces, end="hang")],
        UNKNOWN,
        errors.OutcomeUnknownError,
        _NO_ANSWER,
        options=IMPATIENT,
    ),
    Fault(
        "1 byte a second",
        [Reply([bytes([byte]) for byte in b"".join(OK.pieces)], pause=1.0)],
        UNKNOWN,
        errors.DeadlineExceededError,
        r"0\.3 s",
        options={"deadline": 0.3},
    ),
    Fault("not HTTP", [Reply([b"SSH-2.0-OpenSSH_9.2\r\n"])], UNKNOWN, errors.OutcomeUnknownError, _NO_ANSWER),
    *(
        Fault(name, [Reply([said])], UNKNOWN, errors.OutcomeUnknownError, _NO_ANSWER)
        for name, said in {
            "no status": b"HTTP/1.1 abc OK\r\n\r\n",
            "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "a header without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
            "a chunk that is none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}",
            "rubbish": b"\x00\xff" * 5000,
        }.items()
    ),
    Fault("header flood", [Reply([_FLOOD, b"\r\n"])], UNKNOWN, errors.OutcomeUnknownError, _NO_ANSWER),
    Fault("101 MiB", [_ENDLESS], UNKNOWN, errors.DecodeError, "answer is too large: more than 100,663,296 bytes"),
    # Success without an image.
    Fault(
        "HTML",
        [reply(200, HTML)],
        UNKNOWN,
        errors.OutcomeUnknownError,
        "not JSON .26 bytes beginning with b'<html>",
    ),
    Fault("empty body", [reply(200)], UNKNOWN, errors.OutcomeUnknownError, "not JSON .an empty body"),
    Fault("204", [Reply([b"HTTP/1.1 204 No Content\r\n\r\n"])], UNKNOWN, errors.OutcomeUnknownError, "HTTP 204"),
    Fault("half of the JSON", [reply(200, _JSON[:20])], UNKNOWN, errors.OutcomeUnknownError, "not JSON"),
    Fault("half of the image", [reply(200, _JSON[:50])], UNKNOWN, errors.DecodeError, _CUT),
    Fault(
        "gzip that is none",
        [reply(200, b"abcd", {"Content-Encoding": "gzip"})],
        UNKNOWN,
        errors.OutcomeUnknownError,
        _NO_ANSWER,
    ),
    Fault("a list", [reply(200, [1])], UNKNOWN, errors.NoImageError, _NO_IMAGE),
    Fault("data: []", [reply(200, {"data": []})], UNKNOWN, errors.NoImageError, _NO_IMAGE),
    Fault("data: null", [reply(200, {"data": None})], UNKNOWN, errors.NoImageError, _NO_IMAGE),
    Fault("both null", [_entry(b64_json=None, url=None)], UNKNOWN, errors.NoImageError, _NO_IMAGE),
    Fault("both empty", [_entry(b64_json="", url="")], UNKNOWN, errors.NoImageError, _NO_IMAGE),
    Fault("invalid base64", [_entry(b64_json="!!!")], UNKNOWN, errors.DecodeError, "not a valid image: a character"),
    Fault("truncated base64", [_entry(b64_json=PAYLOAD[:-3])], UNKNOWN, errors.DecodeError, _CUT),
    Fault("truncated image", [_entry(b64_json=PAYLOAD[:-4])], UNKNOWN, errors.DecodeError, _CUT),
    Fault("a PNG that is none", [_entry(b64_json="bm8gaW1hZ2U=")], UNKNOWN, errors.DecodeError, _NOT_AN_IMAGE),
    # Refusals.
    Fault("301", [reply(301, b"", {"Location": "/v2"})], REFUSED, errors.APIStatusError, "HTTP 301"),
    Fault("308", [reply(308, b"", {"Location": "https://a.example"})], REFUSED, errors.APIStatusError, "HTTP 308"),
    Fault("400", [reply(400, _says("Bad size"))], REFUSED, errors.APIStatusError, "HTTP 400: Bad size"),
    Fault(
        "content policy",
        [reply(400, {"error": {"message": "No.", "code": "moderation_blocked"}})],
        REFUSED,
        errors.ContentPolicyError,
        "HTTP 400: No",
    ),
    Fault("401", [reply(401, _says("A valid key."))], REFUSED, errors.AuthenticationError, "HTTP 401: A valid key"),
    Fault("402", [reply(402, _says("Pay."))], REFUSED, errors.InsufficientCreditsError, "HTTP 402: Pay"),
    Fault(
        "403, no credits",
        [reply(403, _says("You've run out of credits."))],
        REFUSED,
        errors.InsufficientCreditsError,
        "HTTP 403: You've run out of credits",
    ),
    Fault("403", [reply(403, HTML)], REFUSED, errors.APIStatusError, "HTTP 403: no message, but 26 bytes"),
    Fault("404", [reply(404, _says("No model"))], REFUSED, errors.NotFoundError, "HTTP 404: No model"),
    Fault("413", [reply(413, HTML)], REFUSED, errors.APIStatusError, "HTTP 413"),
    # Retried later.
    Fault("429, at once", [_later(Retry_After="0"), OK], sent=2),
    Fault("429, seconds", [_later(Retry_After="0.02"), OK], sent=2),
    Fault("429, milliseconds", [_later(retry_after_ms="20"), OK], sent=2),
    Fault("429, a date", [_later(Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), OK], sent=2),
    Fault("429, nonsense", [_later(Retry_After="soon"), OK], sent=2),
    Fault("429, silent", [_later(), OK], sent=2),
    Fault("429, an hour", [_later(Retry_After="3600")], LATER, errors.RateLimitError, "HTTP 429: Too Many Requests"),
    Fault(
        "429, a far date",
        [_later(Retry_After="Fri, 31 Dec 2100 23:59:59 GMT")],
        LATER,
        errors.RateLimitError,
        "HTTP 429",
    ),
    Fault(
        "429, the free tier",
        [reply(429, _says("Free-tier limit: You've reached your free limit for the hour."))],
        LATER,
        errors.RateLimitError,
        "Free-tier limit",
    ),
    Fault("503 with Retry-After", [reply(503, _says("Later."), {"Retry-After": "0"}), OK], sent=2),
    Fault("503, an hour", [reply(503, _says("Later."), {"Retry-After": "3600"})], LATER, errors.ServerError, "3,600 s"),
    # Failed, not billed.
    Fault("500, then success", [reply(500, _says("Later.")), OK], sent=2),
    Fault("500", [reply(500, _says("Something wrong."))], FAILED, errors.ServerError, "Something wrong", sent=4),
    Fault("502 of a proxy", [reply(502, HTML)], UNKNOWN, errors.ServerError, "502: bad gateway.*billed is unknown"),
    Fault("503 of a proxy", [reply(503)], UNKNOWN, errors.ServerError, "503: service unavailable.*unknown"),
    Fault(
        "503 of a proxy that asks to wait", [reply(503, HTML, {"Retry-After": "0"})], UNKNOWN, errors.ServerError, ""
    ),
    Fault("502", [reply(502, _says("Bad Gateway"))], FAILED, errors.ServerError, "502: Bad Gateway", sent=4),
    Fault("503 by its id", [reply(503, b"", {"x-inference-id": "1"})], FAILED, errors.ServerError, "503", sent=4),
    Fault(
        "500, then drop", [reply(500, _says("Later.")), DROP], UNKNOWN, errors.OutcomeUnknownError, _NO_ANSWER, sent=2
    ),
    # Proxies, and other statuses that nobody documents.
    Fault("504", [reply(504, HTML)], UNKNOWN, errors.ProxyTimeoutError, "took too long, and whether it was billed"),
    Fault("520", [reply(520, HTML)], UNKNOWN, errors.ProxyTimeoutError, "HTTP 520"),
    Fault("524", [reply(524, HTML)], UNKNOWN, errors.ProxyTimeoutError, "proxy in front of the API gave up waiting"),
    Fault("529", [reply(529)], UNKNOWN, errors.ServerError, "HTTP 529"),
    Fault("599", [reply(599)], UNKNOWN, errors.ServerError, "HTTP 599"),
]


def _image(name: str, gets: Sequence[Behaviour], message: str, fetched: int = 1, **fields: Any) -> Fault:
    """Make a fault of a download from the API's own origin."""
    return Fault(
        name, [link("/a.png")], UNKNOWN, errors.DownloadError, f"{_PAID}: .*{message}", 1, gets, fetched, **fields
    )


def _moved(to: str) -> Reply:
    return reply(302, b"", {"Location": to})


def _nested(path: str) -> Behaviour:
    return lambda server, _: reply(200, {"output": [{"image_url": {"url": server.origin + path}}]})


_HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
_GZIP = {"Content-Encoding": "gzip"}
_HALF_GZIP = gzip.compress(PIXEL)[:60]
OK_IMAGE = reply(200, PIXEL)

IMAGES = [
    *(
        _image(f"{status}, as if not there yet", [reply(status)], f"HTTP {status}", fetched=4)
        for status in (202, 403, 404, 425)
    ),
    _image("410", [reply(410)], "HTTP 410"),
    Fault("404 at first", [link("/a.png")], gets=[reply(404), reply(404), reply(200, PIXEL)], fetched=3),
    Fault("moved ten times", [link("/b.png")], gets=[*[_moved("/a.png")] * 10, reply(200, PIXEL)], fetched=11),
    _image("expired", [reply(410, b"Request has expired")], "HTTP 410"),
    _image("500", [reply(500)], "HTTP 500", fetched=4),
    _image("dropped", [DROP], "", fetched=4),
    _image("cut at half", [reply(200, PIXEL, cut=30)], "", fetched=4),
    _image("silent", [SILENCE], "", fetched=4, options=IMPATIENT),
    _image("moved to another port", [_moved("http://127.0.0.1:9/a.png")], "not https|not public"),
    _image("moved to https on this machine", [_moved("https://127.0.0.1:9/a.png")], ""),
    _image("moved to a file", [_moved("file:///etc/passwd")], ""),
    _image("moved to ftp", [_moved("ftp://127.0.0.1/a.png")], ""),
    _image("moved in circles", [_moved("/a.png")], "more than 10 redirects", fetched=11),
    _image("too large", [Reply([b"HTTP/1.1 200 OK\r\n\r\n", *[bytes(2**20)] * 65])], "more than 67,108,864 bytes"),
    Fault("cut once", [link("/a.png")], gets=[reply(200, PIXEL, cut=30), reply(200, PIXEL)], fetched=2),
    Fault("moved once", [link("/b.png")], gets=[_moved("/a.png"), reply(200, PIXEL)], fetched=2),
    Fault(
        "HTML in place of an image",
        [link("/a.png")],
        UNKNOWN,
        errors.DecodeError,
        _NOT_AN_IMAGE,
        gets=[reply(200, HTML)],
        fetched=1,
    ),
    _image("no bytes", [reply(200)], "0 bytes, cut off before the end of an image", fetched=4),
    _image(
        "cut, without a length", [Reply([_HEAD, PIXEL[:60]])], "60 bytes, cut off before the end of the png", fetched=4
    ),
    Fault("cut once, without a length", [link("/a.png")], gets=[Reply([_HEAD, PIXEL[:60]]), OK_IMAGE], fetched=2),
    Fault("cut once in gzip", [link("/a.png")], gets=[reply(200, _HALF_GZIP, _GZIP), OK_IMAGE], fetched=2),
    Fault("a broken payload beside a URL", [link("/a.png", b64_json=PAYLOAD[:-4])], gets=[OK_IMAGE], fetched=1),
    Fault("behind a field of another name", [_nested("/a.png")], gets=[OK_IMAGE], fetched=1),
    *(
        Fault(f"at {url}", [_entry(url=url)], UNKNOWN, errors.DownloadError, _PAID)
        for url in ("file:///etc/passwd", "http://169.254.169.254/", "https://127.0.0.1:9/a.png", "data:,x", "/a.png")
    ),
]

FAULTS = ANSWERS + IMAGES


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_each_fault_has_its_outcome(fault: Fault, make_client: MakeClient) -> None:
    await _check(fault, make_client)


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not support Windows")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_has_its_outcome_on_uvloop(fault: Fault, make_client: MakeClient) -> None:
    import uvloop

    uvloop.run(_check(fault, make_client))


async def _check(fault: Fault, make_client: MakeClient) -> None:
    with MisbehavingServer(fault.posts, fault.gets) as server:
        async with make_client(server.origin, **fault.options) as client:
            over_aiohttp = isinstance(client._http.api._transport, AiohttpTransport)
            (result,) = await _all(client, "x")

    # aiohttp repeats a GET once by itself when the connection breaks, but never a POST.
    fetched = 2 * fault.fetched if over_aiohttp and fault.name == "dropped" else fault.fetched
    if fault.outcome is DELIVERED:
        assert isinstance(result, GeneratedImage), result
        assert result.data == PIXEL
    else:
        _assert_error(result, fault.kind, fault.message, fault.outcome)
    assert (server.count("POST"), server.count("GET")) == (fault.sent, fetched)
    assert [r.headers.get("authorization") for r in server.requests if r.method == "GET"] == [None] * fetched


def _assert_error(error: object, kind: type[errors.ImageError], message: str, outcome: Outcome) -> None:
    assert type(error) is kind, repr(error)
    with pytest.raises(kind, match=f"(?s){message}"):
        raise error
    assert error.may_be_billed is (outcome is Outcome.UNKNOWN)
    assert error.order is not None
    assert f"(order {error.order})" in str(error)


async def _all(client: ImageClient, *prompts: str) -> list[Any]:
    return await asyncio.gather(*map(client.generate, prompts), return_exceptions=True)


@pytest.fixture(scope="module")
def tls() -> ssl.SSLContext:
    """An untrusted certificate for this machine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


async def test_nothing_is_sent_to_a_server_with_an_untrusted_certificate(
    tls: ssl.SSLContext, make_client: MakeClient
) -> None:
    with MisbehavingServer([OK], tls=tls) as server:
        async with make_client(server.origin) as client:
            (error,) = await _all(client, "x")

    _assert_error(error, errors.ConnectionFailedError, "not sent, no connection to 127.*certificate", Outcome.NOT_SENT)
    assert server.requests == []


async def test_nothing_is_sent_to_a_server_without_tls(make_client: MakeClient) -> None:
    with MisbehavingServer([OK]) as server:
        async with make_client(server.origin.replace("http:", "https:"), timeout=0.2) as client:
            (error,) = await _all(client, "x")

    _assert_error(error, errors.ConnectionFailedError, "not sent, no connection to 127", Outcome.NOT_SENT)
    assert server.requests == []


async def test_an_unknown_host_counts_as_not_sent(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    async with make_client("https://nowhere.invalid") as client:
        (error,) = await _all(client, "x")

    _assert_error(error, errors.ConnectionFailedError, "no connection to nowhere.invalid", Outcome.NOT_SENT)


async def test_a_refused_connection_counts_as_not_sent(make_client: MakeClient) -> None:
    with nobody() as origin:
        async with make_client(origin) as client:
            (error,) = await _all(client, "x")

    _assert_error(error, errors.ConnectionFailedError, r"not sent, no connection to 127\.0\.0\.1", Outcome.NOT_SENT)


async def test_a_key_that_expires_stops_all_waiting_orders(make_client: MakeClient) -> None:
    with MisbehavingServer([OK, OK, reply(401, _says("A valid key."))]) as server:
        async with make_client(server.origin, max_concurrency=1) as client:
            results = await _all(client, *"abcdef")

    assert [type(result) for result in results] == [GeneratedImage] * 2 + [errors.AuthenticationError] * 4
    assert server.count("POST") == 3
    for error in results[3:]:
        _assert_error(error, errors.AuthenticationError, "not sent, as another order was refused", Outcome.REFUSED)


async def test_an_unknown_outcome_is_sent_again_if_the_caller_asks(make_client: MakeClient) -> None:
    with MisbehavingServer([DROP, OK]) as server:
        async with make_client(server.origin, retry=RetryPolicy(first_wait=0.0, retry_unknown="always")) as client:
            image = await client.generate("x")

    assert image.attempts == 2
    assert server.count("POST") == 2


async def test_an_api_on_this_machine_may_have_images_on_another_port(make_client: MakeClient) -> None:
    with MisbehavingServer(gets=[reply(200, PIXEL)]) as other, MisbehavingServer([_entry(url=other.origin)]) as server:
        async with make_client(server.origin) as client:
            image = await client.generate("a")

    assert image.data == PIXEL
    assert [request.headers.get("authorization") for request in other.requests] == [None]


@pytest.mark.parametrize("to", ["https://127.0.0.1:{port}", "http://127.0.0.2:{port}", "http://localhost:{port}"])
@pytest.mark.parametrize("redirected", [False, True])
async def test_no_other_address_of_this_machine_is_fetched_from(
    make_client: MakeClient, to: str, redirected: bool
) -> None:
    with MisbehavingServer(gets=[reply(200, PIXEL)]) as other:
        url = to.format(port=other.port)
        order = link("/a.png") if redirected else _entry(url=url)
        with MisbehavingServer([order], [_moved(url)]) as server:
            async with make_client(server.origin) as client:
                (result,) = await _all(client, "a")

    _assert_error(result, errors.DownloadError, f"{_PAID}: .* is not (https|public)", Outcome.UNKNOWN)
    assert other.requests == []
