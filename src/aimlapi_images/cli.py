"""The command. Its options are the schema's fields; its exit codes are for scripts.

0 done; 2 a usage error, or a request that cannot be right; 3 refused by the API; 4 network trouble, an
unknown outcome, or a failure of the API's servers.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

try:
    import click
except ModuleNotFoundError:  # pragma: no cover - tried with the built wheel, in an environment without it
    sys.exit('aimlapi-images: the command needs an extra: pip install "aimlapi-images[cli]"')

from aimlapi_images import schema

if TYPE_CHECKING:
    from aimlapi_images.images import GeneratedImage

USAGE, REFUSED, UNKNOWN, INTERRUPTED = 2, 3, 4, 130
_OWN_OPTIONS: Final = ("model", "prompt")
_EMULATOR_KEY: Final = "emulator"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit. Errors are one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a prompt must not fail on what a terminal can show
    try:
        code = command.main(args=arguments, prog_name="aimlapi-images", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(USAGE)
    except click.UsageError as error:
        _complain(error.format_message(), hint=f"try: {error.ctx.command_path} --help" if error.ctx else None)
        sys.exit(USAGE)
    sys.exit(code if isinstance(code, int) else 0)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="aimlapi-images", message="%(package)s %(version)s")
def command() -> None:
    """Images from AI/ML API's model openai/gpt-image-1-5.

    The key is read from AIMLAPI_API_KEY (or AIML_API_KEY). `--emulator` needs none and costs nothing.
    """


def _schema_options() -> list[click.Parameter]:
    """One option for each field of the request, with the schema's own words and values."""
    fields: Mapping[str, Any] = schema.generation_request()["properties"]
    return [
        click.Option(
            [f"--{name.replace('_', '-')}", name],
            type=_option_type(field),
            help=_option_help(field),
        )
        for name, field in fields.items()
        if name not in _OWN_OPTIONS
    ]


def _option_type(field: Mapping[str, Any]) -> click.ParamType[Any]:
    match field:
        case {"enum": values}:
            return click.Choice(values)
        case {"type": "integer"}:
            return click.IntRange(field.get("minimum"), field.get("maximum"))
        case {"type": "number"}:
            return click.FloatRange(field.get("minimum"), field.get("maximum"))
        case {"type": "boolean"}:
            return click.BOOL
    return click.STRING


def _option_help(field: Mapping[str, Any]) -> str:
    words = " ".join(str(field.get("description", "")).split())
    return f"{words} [the API's default: {field['x-api-default']}]" if "x-api-default" in field else words


@click.argument("prompt")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Where to: fox, or fox.jpg for a JPEG. [default: a name made of the prompt]",
)
@click.option("--model", help="Another model. One that the schema does not describe is sent unchecked.")
@click.option("--base-url", metavar="URL", help="The API's address, if not https://api.aimlapi.com.")
@click.option("--timeout", type=float, metavar="SECONDS", help="How long to wait for the answer. [default: 300]")
@click.option("--deadline", type=float, default=900.0, show_default=True, metavar="SECONDS", help="For all of it.")
@click.option("--attempts", type=int, default=4, show_default=True, help="How often to try what is not billed.")
@click.option("--emulator", is_flag=True, help="Draw a picture here instead: no key, no network, no cost.")
@click.option("--json", "json_wanted", is_flag=True, help="Print what is known of the image as one JSON object.")
def generate(
    prompt: str,
    output: Path | None,
    model: str | None,
    base_url: str | None,
    timeout: float | None,
    deadline: float,
    attempts: int,
    emulator: bool,
    json_wanted: bool,
    **options: Any,
) -> int:
    """Generate one image from PROMPT.

    Exit codes: 0 done, 2 usage, 3 refused by the API, 4 network trouble or unknown outcome.
    """
    from aimlapi_images import errors
    from aimlapi_images.report import as_json, rescue, summary

    given = {name: value for name, value in options.items() if value is not None}
    if output is not None:
        given = {**_format_of(output), **given}
    settings: dict[str, Any] = {"base_url": base_url, "deadline": deadline}
    if timeout is not None:
        settings["timeout"] = timeout
    if emulator:
        settings |= {"api_key": _EMULATOR_KEY, "transport": _emulator_transport(), "base_url": "http://emulator"}
    call: dict[str, Any] = {"options": given, "to": output or _free_path(prompt), **({"model": model} if model else {})}
    try:
        image = asyncio.run(_generate(prompt, attempts, settings, call))
    except errors.NotSavedError as error:
        _complain(f"{error}; {rescue(error.image.data, error.image.order)}")
        return USAGE
    except errors.DecodeError as error:
        _complain(f"{error}; {rescue(error.data, str(error.order))}" if error.data else str(error))
        return UNKNOWN
    except errors.ImageError as error:
        _complain(str(error))
        return _exit_code(error)
    except KeyboardInterrupt:
        _complain("interrupted: if the request was sent already, it may be billed")
        return INTERRUPTED
    click.echo(as_json(image, emulated=emulator) if json_wanted else summary(image, emulated=emulator))
    return 0


async def _generate(prompt: str, attempts: int, settings: Mapping[str, Any], call: Mapping[str, Any]) -> GeneratedImage:
    from aimlapi_images.client import ImageClient
    from aimlapi_images.retries import RetryPolicy

    async with ImageClient(**settings, retry=RetryPolicy(attempts=attempts)) as client:
        return await client.generate(prompt, **call)


def _exit_code(error: Exception) -> int:
    from aimlapi_images import errors

    match error:
        case errors.InvalidRequestError():
            return USAGE
        case errors.ServerError():
            return UNKNOWN
        case errors.APIStatusError():
            return REFUSED
    return UNKNOWN


def _emulator_transport() -> Any:
    try:
        from aimlapi_images import emulator
    except ModuleNotFoundError as error:
        raise click.UsageError(str(error)) from error
    return emulator.transport()


def _format_of(output: Path) -> dict[str, str]:
    """`-o fox.jpg` asks for a JPEG, where the schema has that format and no option says otherwise."""
    from aimlapi_images.formats import format_of

    name = format_of(output)
    known = schema.generation_request()["properties"].get("output_format", {}).get("enum", ())
    return {"output_format": name} if name and name in known else {}


def _free_path(prompt: str) -> Path:
    from aimlapi_images.files import free_name

    return free_name(Path(), prompt)


@command.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8400, show_default=True, help="0 for a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--latency", type=click.FloatRange(0), default=0.0, show_default=True, help="Seconds a generation takes.")
def emulator(port: int, host: str, latency: float) -> int:
    """Run a local server that answers as the API does, until Ctrl-C. Any key is accepted."""
    try:
        from aimlapi_images.emulator import create_app, run
    except ModuleNotFoundError as error:
        raise click.UsageError(str(error)) from error
    try:
        for url in run(create_app(latency=latency), port=port, host=host):
            click.echo(
                f"The emulator listens at {url}. Point a client at it:\n\n"
                f'  ImageClient(api_key="{_EMULATOR_KEY}", base_url="{url}")\n'
                f"  export AIMLAPI_API_BASE={url} AIMLAPI_API_KEY={_EMULATOR_KEY}\n"
                f'  openai.AsyncOpenAI(api_key="{_EMULATOR_KEY}", base_url="{url}/v1")\n\n'
                "Ctrl-C ends it."
            )
    except OSError as error:
        _complain(f"cannot listen at {host}:{port}: {os.strerror(error.errno or 0)}")
        return USAGE
    except KeyboardInterrupt:
        pass
    return 0


def _complain(message: str, hint: str | None = None) -> None:
    line = " ".join(message.split())
    click.echo(f"aimlapi-images: {line}" + (f" ({hint})" if hint else ""), err=True)


_generate_command = click.command(generate)
_generate_command.params[2:2] = _schema_options()
command.add_command(_generate_command)
