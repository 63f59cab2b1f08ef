"""A local server that behaves as AI/ML API does, for free development and tests.

    with emulator.serve() as running:                               # a real server on a free port
        client = ImageClient("any-key", base_url=running.base_url)

    async with emulator.serve(faults={"rate_limited": 0.1}) as running: ...

    client = ImageClient("any-key", transport=emulator.transport())  # or in this process, without a server

It draws a landscape that depends on the prompt only and is visibly marked as emulated. In pytest, use the fixtures
`aimlapi_emulator` and `aimlapi_client`. Needs the extra `emulator`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aimlapi_images.about import loader, needs_extra

if TYPE_CHECKING:
    from aimlapi_images.emulator.app import create_app
    from aimlapi_images.emulator.faults import FAULTS, Fault, Meaning
    from aimlapi_images.emulator.in_process import InProcessTransport, transport
    from aimlapi_images.emulator.server import RunningEmulator, run, serve
    from aimlapi_images.emulator.settings import Settings
    from aimlapi_images.emulator.state import State, Stats

__all__ = [
    "FAULTS",
    "Fault",
    "InProcessTransport",
    "Meaning",
    "RunningEmulator",
    "Settings",
    "State",
    "Stats",
    "create_app",
    "run",
    "serve",
    "transport",
]

_HOMES = {
    "FAULTS": ".faults",
    "Fault": ".faults",
    "InProcessTransport": ".in_process",
    "Meaning": ".faults",
    "RunningEmulator": ".server",
    "Settings": ".settings",
    "State": ".state",
    "Stats": ".state",
    "create_app": ".app",
    "run": ".server",
    "serve": ".server",
    "transport": ".in_process",
}


if not TYPE_CHECKING:  # a type checker would accept any name
    _load = loader(__name__, _HOMES)

    def __getattr__(name: str) -> Any:
        """Load a public name when it is first used: the pytest plugin and `--help` do without server and Pillow."""
        try:
            if name in _HOMES:
                import_module("python_multipart")  # Starlette needs it for forms, but imports it late
            return _load(name)
        except (
            ModuleNotFoundError
        ) as error:  # pragma: no cover - tried with the built wheel, in an environment without it
            raise ModuleNotFoundError(needs_extra("the emulator", "emulator")) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
