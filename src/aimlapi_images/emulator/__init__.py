"""A local server that behaves as AI/ML API does, for free development and tests.

    with emulator.serve() as running:                               # a real server on a free port
        client = ImageClient("any-key", base_url=running.base_url)

    async with emulator.serve(faults={"rate_limited": 0.1}) as running: ...

    client = ImageClient("any-key", transport=emulator.transport())  # or in this process, without a server

It draws a landscape that depends on the prompt only and is visibly marked as emulated. In pytest, use the fixtures
`aimlapi_emulator` and `aimlapi_client`. Needs `pip install "aimlapi-images[emulator]"`.
"""

from __future__ import annotations

from typing import Any

try:
    import python_multipart  # noqa: F401 - Starlette needs it for forms, but imports it late
    from starlette.types import ASGIApp

    from aimlapi_images.emulator.app import create_app
    from aimlapi_images.emulator.faults import FAULTS, Fault
    from aimlapi_images.emulator.in_process import InProcessTransport
    from aimlapi_images.emulator.server import RunningEmulator, run, serve
    from aimlapi_images.emulator.settings import Settings
    from aimlapi_images.emulator.state import State, Stats
except ModuleNotFoundError as error:  # pragma: no cover - tried with the built wheel, in an environment without it
    raise ModuleNotFoundError('the emulator needs an extra: pip install "aimlapi-images[emulator]"') from error

__all__ = [
    "FAULTS",
    "Fault",
    "InProcessTransport",
    "RunningEmulator",
    "Settings",
    "State",
    "Stats",
    "create_app",
    "run",
    "serve",
    "transport",
]


def transport(app: ASGIApp | None = None, **settings: Any) -> InProcessTransport:
    """Create a transport that connects an `ImageClient` to an emulator in this process, without a port.

    Args:
        app: The application, such as `create_app(latency=1)`; one with the settings if `None`.
        **settings: See `Settings`.
    """
    return InProcessTransport(app or create_app(**settings))
