"""A local server that behaves as AI/ML API does, for free development and tests.

    with emulator.serve() as running:                               # a real server on a free port
        client = ImageClient("any-key", base_url=running.base_url)

    client = ImageClient("any-key", transport=emulator.transport())  # or in this process, without a server

It draws a landscape that depends on the prompt only and is visibly marked as emulated. Needs
`pip install "aimlapi-images[emulator]"`.
"""

from __future__ import annotations

import httpx

try:
    import python_multipart  # noqa: F401 - Starlette needs it for forms, but imports it late
    from starlette.types import ASGIApp

    from aimlapi_images.emulator.app import create_app
    from aimlapi_images.emulator.server import RunningEmulator, run, serve
except ModuleNotFoundError as error:  # pragma: no cover - tried with the built wheel, in an environment without it
    raise ModuleNotFoundError('the emulator needs an extra: pip install "aimlapi-images[emulator]"') from error

__all__ = ["RunningEmulator", "create_app", "run", "serve", "transport"]


def transport(app: ASGIApp | None = None) -> httpx.AsyncBaseTransport:
    """Create a transport that connects an `ImageClient` to an emulator in this process, without a port.

    Args:
        app: The application, such as `create_app(latency=1)`; one with default settings if `None`.
    """
    return httpx.ASGITransport(app or create_app())
