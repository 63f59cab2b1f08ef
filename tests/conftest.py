"""Shared fixtures: an emulator on a real port, clients for it, and clients with scripted responses."""

from __future__ import annotations

from own_schema import GENERATED

# isort: split

import base64
import json
import os
import pkgutil
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

import aimlapi_images
from aimlapi_images import ImageClient, RetryPolicy, emulator
from aimlapi_images.emulator import RunningEmulator
from aimlapi_images.orders import schema
from aimlapi_images.orders.edit import EditOrder
from aimlapi_images.orders.generation import GenerationOrder
from aimlapi_images.threads import Threads
from schema_tools.json_schema import to_json_schema

ROOT = Path(__file__).resolve().parent.parent
KEY = "sk-test-3f9c0b7e5d"
UNCHECKED = "sent-unchecked"
DOCUMENT: dict[str, Any] = json.loads((GENERATED / "aimlapi_rest" / "openapi.json").read_text(encoding="utf-8"))

# A complete PNG of one pixel, from the example in the schema.
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mPQyp8OAAH3ATEjw1BhAAAAAElFTkSuQmCC")
PIXEL_ANSWER = {"data": [{"b64_json": base64.b64encode(PIXEL).decode(), "url": None}]}


def pytest_xdist_auto_num_workers() -> int:
    """One more than processors, since many tests wait for other processes."""
    return (os.cpu_count() or 1) + 1


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "untraced: without coverage, whose tracing makes simulations three times slower")


@contextmanager
def untraced() -> Iterator[None]:
    """Switch tracing off. pytest-cov's `no_cover` has no effect in the processes of pytest-xdist."""
    tracing = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracing)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Load the tests untraced. What they test is loaded before, if coverage is measured."""
    if sys.gettrace() is not None:
        for module in pkgutil.walk_packages(aimlapi_images.__path__, "aimlapi_images."):
            if not module.name.endswith("__main__"):
                import_module(module.name)
    with untraced():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    if item.get_closest_marker("untraced") is None and item.path.parent.name != "scripts":
        return (yield)
    with untraced():
        return (yield)


@pytest.fixture(autouse=True)
def _no_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("AIMLAPI_API_KEY", "AIML_API_KEY", "AIMLAPI_API_BASE", "AIML_API_BASE"):
        monkeypatch.delenv(name, raising=False)


@cache
def _validator(path: str) -> Draft202012Validator:
    (media,) = DOCUMENT["paths"][path]["post"]["requestBody"]["content"].values()
    return Draft202012Validator(to_json_schema(media["schema"], DOCUMENT))


def _checked(request: Callable[[Any, str], dict[str, Any]]) -> Callable[[Any, str], dict[str, Any]]:
    def check(order: Any, request_id: str) -> dict[str, Any]:
        """The request of an order, if the document allows its body. Fields that the document lacks pass."""
        sent = request(order, request_id)
        described = schema.models("generations") if "json" in sent else schema.models("edits")
        body = dict(sent["json"] if "json" in sent else sent["data"])
        files = [name for name, _ in sent.get("files", ())]
        body |= {name: [""] * files.count(name) if name.endswith("[]") else "" for name in files}
        if body["model"] in described and order.id != UNCHECKED:
            _validator(sent["url"]).validate(body)
        return sent

    return check


@pytest.fixture(autouse=True)
def _bodies_fit_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validate the body of each attempt of each test. An order with the id `UNCHECKED` is sent as it is."""
    for kind in (GenerationOrder, EditOrder):
        monkeypatch.setattr(kind, "request", _checked(kind.request))


@pytest.fixture(scope="session")
def emulator_url() -> Iterator[str]:
    """An emulator on a free port, for the whole test session."""
    with emulator.serve(emulator.create_app(api_key=KEY)) as running:
        yield running.base_url


@pytest.fixture
async def client(emulator_url: str) -> AsyncIterator[ImageClient]:
    """A client of the emulator."""
    async with ImageClient(KEY, base_url=emulator_url) as client:
        yield client


@pytest.fixture
def threads() -> Iterator[Threads]:
    """A thread pool like a client's."""
    threads = Threads()
    yield threads
    threads.close()


def without_nonces(text: str) -> str:
    """Text with request ids such as `order.0123abcd.1`, as `order.1`."""
    return re.sub(r"\.[0-9a-f]{8}\.(?=[0-9])", ".", text)


@pytest.fixture
def fast_emulator() -> Iterator[RunningEmulator]:
    """An emulator on a free port for one test, which draws in no time."""
    with emulator.serve(drawing="plain", time_scale=100.0, seed=1) as running:
        yield running


@pytest.fixture
async def fast_client(fast_emulator: RunningEmulator) -> AsyncIterator[ImageClient]:
    """A client of the fast emulator, with short waits."""
    retry = RetryPolicy(first_wait=0.01, longest_wait=0.02)
    async with ImageClient(KEY, base_url=fast_emulator.base_url, retry=retry) as client:
        yield client


class Script:
    """A transport with scripted responses. It keeps the requests.

    Args:
        answers: Responses, exceptions to raise, or functions of the request. The last one repeats.
    """

    def __init__(self, *answers: httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = list(answers)
        self.transport = httpx.MockTransport(self._handle)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    @property
    def body(self) -> dict[str, Any]:
        """The JSON body of the only request."""
        (request,) = self.requests
        body: dict[str, Any] = json.loads(request.content)
        return body


def scripted(
    *answers: httpx.Response | Exception | Callable[[httpx.Request], httpx.Response],
) -> tuple[ImageClient, Script]:
    """A client with scripted responses, without retries."""
    script = Script(*(answers or (httpx.Response(200, json=PIXEL_ANSWER),)))
    return ImageClient(KEY, transport=script.transport, retry=RetryPolicy(attempts=1)), script
