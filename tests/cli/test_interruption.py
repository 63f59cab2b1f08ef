"""Ctrl-C, SIGTERM and SIGHUP at any moment: one line, no partial file, and no paid image lost."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aimlapi_images import emulator
from aimlapi_images.cli.report import Watch
from aimlapi_images.errors import ConnectionFailedError, OutcomeUnknownError
from aimlapi_images.events import AttemptStarted, Generated, Retrying
from aimlapi_images.models import Usage
from conftest import KEY

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")

# A shell starts background jobs with SIGINT ignored, and children inherit that: restore Python's default.
SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from aimlapi_images.cli import main
main()
"""
PATIENCE = 120  # seconds; only a test that fails waits for so long


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "rescued").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "rescued"))
    monkeypatch.setenv("AIMLAPI_API_KEY", KEY)


def start(
    *arguments: str, stdin: int | None = None, stdout: int = subprocess.PIPE, ignoring: str = ""
) -> subprocess.Popen[str]:
    script = SCRIPT.replace("SIGINT, signal.default_int_handler", f"{ignoring}, signal.SIG_IGN") if ignoring else SCRIPT
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, text=True)


class Server:
    """An API that begins each answer, and never ends it."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.app = Starlette(routes=[Route("/v1/images/generations", self._never, methods=["POST"])])

    async def _never(self, request: Request) -> Response:
        self.arrived.set()
        await asyncio.Event().wait()
        return Response()


@pytest.fixture
def never() -> Iterator[tuple[str, threading.Event]]:
    """The URL of an API that does not answer, and what is set when an order arrives there."""
    server = Server()
    with emulator.serve(server.app) as running:
        yield running.base_url, server.arrived


@pytest.mark.parametrize(
    "signals",
    [
        [signal.SIGTERM, signal.SIGTERM],
        [signal.SIGINT, signal.SIGINT, signal.SIGINT],
        [signal.SIGHUP, signal.SIGTERM, signal.SIGINT],
    ],
)
def test_further_signals_change_nothing(never: tuple[str, threading.Event], signals: list[signal.Signals]) -> None:
    url, arrived = never
    with start("generate", "x", "--base-url", url, "-o", "fox") as running:
        assert arrived.wait(PATIENCE)
        for number in signals:
            running.send_signal(number)
        _, err = running.communicate(timeout=PATIENCE)

    assert running.returncode == 130
    assert re.fullmatch(r"aimlapi-images: interrupted: order \w{32} was in flight and may be billed: .*\n", err)
    assert list(Path().iterdir()) == []


def test_an_interruption_is_json_when_asked(never: tuple[str, threading.Event]) -> None:
    url, arrived = never
    with start("generate", "x", "--base-url", url, "--json") as running:
        assert arrived.wait(PATIENCE)
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=PATIENCE)

    known = json.loads(out)
    assert (known["error"], known["may_be_billed"]) == ("Interrupted", True)
    assert known["order"] in err


def test_a_signal_that_is_ignored_stays_ignored(never: tuple[str, threading.Event]) -> None:
    url, arrived = never
    with start("generate", "x", "--base-url", url, ignoring="SIGHUP") as running:
        assert arrived.wait(PATIENCE)
        running.send_signal(signal.SIGHUP)
        running.send_signal(signal.SIGTERM)
        _, err = running.communicate(timeout=PATIENCE)

    assert running.returncode == 130
    assert err.count("\n") == 1


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_waiting_for_standard_input_ends_in_one_line(sent: signal.Signals) -> None:
    reading, writing = os.pipe()
    with start("generate", "-", "--emulator", stdin=reading) as running:
        os.close(reading)
        os.write(writing, b"x" * 100_000)  # more than the pipe holds: it returns when the command reads
        for _ in range(5 * PATIENCE):
            running.send_signal(sent)  # again, since Python misses one that comes just before it waits for more
            with suppress(subprocess.TimeoutExpired):
                running.wait(0.2)
                break
        _, err = running.communicate(timeout=PATIENCE)
    os.close(writing)

    assert (running.returncode, err) == (130, "aimlapi-images: interrupted\n")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_image_that_a_full_pipe_holds_up_is_rescued(sent: signal.Signals, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with start("generate", "x", "--emulator", "-o", "-", stdout=writing) as running:
        os.close(writing)
        os.read(reading, 1)  # the image arrives, and it is larger than the pipe
        running.send_signal(sent)
        _, err = running.communicate(timeout=PATIENCE)
    os.close(reading)

    (rescued,) = (tmp_path / "rescued").iterdir()
    assert running.returncode == 130
    assert err.count("\n") == 1
    assert "is paid for" in err
    assert f"the data is rescued as {rescued}\n" in err
    assert rescued.suffix == ".png"


def test_a_result_that_a_full_pipe_holds_up_is_on_standard_error() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    with start("generate", "x", "--emulator", stdout=writing) as running:
        os.close(writing)
        while not Path("x.png").exists():
            time.sleep(0.01)
        running.send_signal(signal.SIGTERM)
        _, err = running.communicate(timeout=PATIENCE)
    os.close(reading)

    assert running.returncode == 130
    assert err.count("\n") == 1
    assert err.startswith("aimlapi-images: ")
    assert Path("x.png").exists()


def test_the_address_of_a_paid_image_is_told() -> None:
    asked = threading.Event()

    async def by_url(request: Request) -> Response:
        return JSONResponse({"data": [{"url": f"{request.base_url}image.png"}]})

    async def image(request: Request) -> Response:
        asked.set()
        await asyncio.Event().wait()
        return Response()

    app = Starlette(
        routes=[Route("/v1/images/generations", by_url, methods=["POST"]), Route("/image.png", image, methods=["GET"])]
    )
    with emulator.serve(app) as served, start("generate", "x", "--base-url", served.base_url) as running:
        assert asked.wait(PATIENCE)
        running.send_signal(signal.SIGTERM)
        _, err = running.communicate(timeout=PATIENCE)

    assert running.returncode == 130
    assert re.fullmatch(
        rf"aimlapi-images: interrupted: .* is paid for, and is at {re.escape(served.base_url)}/image.png\n", err
    )


async def test_an_order_whose_attempts_were_not_billed_is_not_in_flight() -> None:
    watch = Watch("o")
    started = AttemptStarted("o", 1, "o.1")
    known = [str(watch)]

    for event in (
        started,
        Retrying("o", 1, ConnectionFailedError("no connection"), 1.0),
        started,
        Retrying("o", 1, OutcomeUnknownError("no answer"), 1.0),
        Generated("o", 2, (), Usage(), None),
    ):
        await watch(event)
        known.append(str(watch))

    unsent, in_flight = "no order was in flight, so nothing is billed", "order o was in flight and may be billed"
    assert [text.partition(":")[0] for text in known] == [
        *(unsent, in_flight, unsent, in_flight, in_flight),
        "the image of order o is paid for",
    ]
