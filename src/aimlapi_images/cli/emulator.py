"""`aimlapi-images emulator`, and the `--emulator` option of other commands."""

from __future__ import annotations

import os
from typing import Any, Final

import click

from aimlapi_images.cli.process import USAGE, complain

_KEY: Final = "emulator"


def emulated() -> dict[str, Any]:
    """Arguments of an `ImageClient` that uses an emulator in this process."""
    try:
        from aimlapi_images import emulator
    except ModuleNotFoundError as error:
        raise click.UsageError(str(error)) from error
    return {"api_key": _KEY, "transport": emulator.transport(), "base_url": "http://emulator"}


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8400,
    show_default=True,
    help="The port; 0 for a free one.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--latency", type=click.FloatRange(0), default=0.0, show_default=True, help="Seconds per generation.")
def emulator(port: int, host: str, latency: float) -> int:
    """Run a local server that behaves as the API does, until Ctrl-C. It accepts any key."""
    try:
        from aimlapi_images.emulator import create_app, run
    except ModuleNotFoundError as error:
        raise click.UsageError(str(error)) from error
    try:
        for url in run(create_app(latency=latency), port=port, host=host):
            click.echo(
                f"The emulator listens at {url}. Point a client at it:\n\n"
                f'  ImageClient(api_key="{_KEY}", base_url="{url}")\n'
                f"  export AIMLAPI_API_BASE={url} AIMLAPI_API_KEY={_KEY}\n"
                f'  openai.AsyncOpenAI(api_key="{_KEY}", base_url="{url}/v1")\n\n'
                "Ctrl-C ends it."
            )
    except OSError as error:
        complain(f"cannot listen at {host}:{port}: {os.strerror(error.errno or 0)}")
        return USAGE
    except KeyboardInterrupt:
        pass
    return 0
