"""`aimlapi-images emulator`, and the options of other commands that say where to send requests."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any, Final

import click

from aimlapi_images.cli.process import USAGE, complain
from aimlapi_images.emulator.faults import FAULTS, parse_rate
from aimlapi_images.errors import InvalidRequestError

_KEY: Final = "emulator"
_NONE: Final = "none"

base_url_option = click.option(
    "--base-url", metavar="URL", help="The base URL of the API. [default: https://api.aimlapi.com]"
)
emulator_option = click.option("--emulator", is_flag=True, help="Use a local emulator: no key, no network, no cost.")


def emulated() -> dict[str, Any]:
    """Arguments of an `ImageClient` that uses an emulator in this process."""
    try:
        from aimlapi_images.emulator import transport
    except ModuleNotFoundError as error:
        raise click.UsageError(str(error)) from error
    return {"api_key": _KEY, "transport": transport(), "base_url": "http://emulator"}


class FaultRate(click.ParamType[tuple[str, float]]):
    """`KIND:RATE`."""

    name = "kind:rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        try:
            return value if isinstance(value, tuple) else parse_rate(value)
        except InvalidRequestError as error:
            self.fail(str(error), param, ctx)


class Seconds(click.ParamType[Any]):
    """A number of seconds, or `none`."""

    name = "seconds|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == _NONE else click.FloatRange(0).convert(value, param, ctx)


class EmulatorCommand(click.Command):
    """Lists the kinds of faults below the options."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for meaning in dict.fromkeys(each.meaning for each in FAULTS.values()):
            with formatter.section(f"Faults that mean {meaning.value!r}"):
                rows = [
                    (each.kind, f"{each.happens}{' (billed)' if each.billed else ''}. Client: {each.client}.")
                    for each in FAULTS.values()
                    if each.meaning is meaning
                ]
                formatter.write_dl(rows)


@click.command(cls=EmulatorCommand)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8400, show_default=True, help="The port; 0 for a free one."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at, such as ::1.")
@click.option(
    "--image-port",
    type=click.IntRange(0, 65535),
    help="A port of its own for the image host; 0 for a free one. This package's client refuses images from there.",
)
@click.option("--api-key", help="The only key that is accepted; any key if not given.")
@click.option(
    "--latency", type=click.FloatRange(0), help="Seconds per generation of medium quality; about 26 in reality."
)
@click.option("--latency-spread", type=click.FloatRange(0, 1), help="How far latencies vary: 0.2 is by 20 % each way.")
@click.option(
    "--time-scale", type=click.FloatRange(0, min_open=True), help="How much faster time passes: 100 makes 26 s 0.26 s."
)
@click.option("--rpm", type=click.IntRange(1), help="Orders accepted per minute, further ones get 429.")
@click.option("--max-concurrency", type=click.IntRange(1), help="Orders in progress at a time, further ones get 429.")
@click.option("--retry-after", type=Seconds(), help="Retry-After of a 429, 1 if not given, or none for no such header.")
@click.option("--free-tier", type=click.IntRange(0), help="Orders accepted per hour, as in the free tier.")
@click.option("--balance", type=float, help="The balance in US dollars. Once it is spent, orders get 403.")
@click.option(
    "--fault", "faults", type=FaultRate(), multiple=True, help="How many orders a fault hits: 0.1 is every tenth."
)
@click.option("--seed", type=click.IntRange(0), help="Makes faults and latencies repeatable.")
@click.option("--log-delay", type=click.FloatRange(0), help="Seconds until the log shows an order.")
@click.option(
    "--url-expires", type=click.FloatRange(0, min_open=True), help="Seconds until the URL of an image expires."
)
@click.option("--explicit-nulls", is_flag=True, default=None, help='Answer with "url": null beside b64_json.')
@click.option("--drawing", type=click.Choice(["landscape", "plain"]), help="What to draw; plain is a single color.")
def emulator(
    port: int,
    host: str,
    image_port: int | None,
    faults: Sequence[tuple[str, float]],
    **given: Any,
) -> int:
    """Run a local server that behaves as the API does, until Ctrl-C. It accepts any key, and costs nothing.

    The page at / shows what happens. A request with the header X-Emulator-Fault: KIND gets the fault of that kind.
    """
    named = {name: None if value == _NONE else value for name, value in given.items() if value is not None}
    try:
        from aimlapi_images.emulator import create_app, run

        app = create_app(**named, faults=dict(faults))
    except (ModuleNotFoundError, InvalidRequestError) as error:
        raise click.UsageError(str(error)) from error
    try:
        for url in run(app, port=port, host=host, image_port=image_port):
            click.echo(
                f"The emulator listens at {url}. A browser shows there what happens. Point a client at it:\n\n"
                f'  ImageClient(api_key="{_KEY}", base_url="{url}")\n'
                f"  export AIMLAPI_API_BASE={url} AIMLAPI_API_KEY={_KEY}\n"
                f'  openai.AsyncOpenAI(api_key="{_KEY}", base_url="{url}/v1")\n\n'
                "Ctrl-C ends it."
            )
    except OSError as error:
        # An unknown host has a message, but no error number of the system.
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        complain(f"cannot listen at {host}:{port}: {reason}")
        return USAGE
    except KeyboardInterrupt:
        pass
    return 0
