"""A local server that answers as AI/ML API does, to build against for free.

    with emulator.serve() as running:                               # a real server on a free port
        client = ImageClient("any-key", base_url=running.base_url)

    client = ImageClient("any-key", transport=emulator.transport())  # or none at all: in this process

It draws a landscape for each prompt, always the same one, visibly marked as emulated. Needs
`pip install "aimlapi-images[emulator]"`.
"""

from __future__ import annotations

import httpx

try:
    import python_multipart  # noqa: F401 - Starlette needs it for forms, and says so only when one comes
    from starlette.types import ASGIApp

    from aimlapi_images.emulator.app import create_app
    from aimlapi_images.emulator.server import RunningEmulator, run, serve
except ModuleNotFoundError as error:  # pragma: no cover - tried with the built wheel, in an environment without it
    raise ModuleNotFoundError('the emulator needs an extra: pip install "aimlapi-images[emulator]"') from error

__all__ = ["RunningEmulator", "create_app", "run", "serve", "transport"]


def transport(app: ASGIApp | None = None) -> httpx.AsyncBaseTransport:
    """The emulator as a transport for `ImageClient`: no port, no network.

    Args:
        app: `create_app(…)`, with settings or middleware of yours; a plain one if `None`.
    """
    return httpx.ASGITransport(app or create_app())
