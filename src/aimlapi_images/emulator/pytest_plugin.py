"""The pytest plugin: the fixtures `aimlapi_emulator` and `aimlapi_client`.

pytest loads this module in every run, so that it imports nothing until a fixture is used.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from aimlapi_images.client import ImageClient
    from aimlapi_images.emulator import RunningEmulator

_KEY: Final = "emulator"


@pytest.fixture(scope="session")
def _aimlapi_server() -> Iterator[RunningEmulator]:
    from aimlapi_images.emulator import serve

    # A test should not wait: images are a single color, and what takes 10 s takes 0.1 s.
    with serve(drawing="plain", time_scale=100) as running:
        yield running


@pytest.fixture
def aimlapi_emulator(_aimlapi_server: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> RunningEmulator:
    """An emulator of AI/ML API at `aimlapi_emulator.base_url`, fresh for each test.

    The environment points to it: an application that reads AIMLAPI_API_KEY and AIMLAPI_API_BASE uses it as it is.
    """
    _aimlapi_server.reset()
    monkeypatch.setenv("NO_PROXY", ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1"])))
    for prefix in ("AIMLAPI", "AIML"):
        monkeypatch.setenv(f"{prefix}_API_KEY", _KEY)
        monkeypatch.setenv(f"{prefix}_API_BASE", _aimlapi_server.base_url)
    return _aimlapi_server


@pytest.fixture
def aimlapi_client(aimlapi_emulator: RunningEmulator) -> Iterator[ImageClient]:
    """An `ImageClient` of `aimlapi_emulator`, in this process: no connection is made. Retries wait for 10 ms."""
    from aimlapi_images.client import ImageClient
    from aimlapi_images.dispatch.retry import RetryPolicy

    retry = RetryPolicy(first_wait=0.01, longest_wait=0.01)
    client = ImageClient(_KEY, base_url="http://emulator", transport=aimlapi_emulator.transport(), retry=retry)
    yield client
    # Not asyncio.run(), which would take away the event loop of other plugins. There is no connection to close.
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(client.aclose())
    finally:
        loop.close()
