"""Options and execution shared by the commands that place one order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from aimlapi_images.cli.emulator import emulated
from aimlapi_images.cli.exit_codes import INTERRUPTED, complain, exit_code
from aimlapi_images.cli.fields import named_value

if TYPE_CHECKING:
    from aimlapi_images.client import ImageClient
    from aimlapi_images.models import GeneratedImage

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        help="The file to write: fox, or fox.jpg for a JPEG. [default: a name made from the prompt]",
    ),
    click.option("--model", help="Another model. Requests for a model without a schema are sent unchecked."),
    click.option("--base-url", metavar="URL", help="The base URL of the API. [default: https://api.aimlapi.com]"),
    click.option("--timeout", type=float, metavar="SECONDS", help="The time limit for one response. [default: 300]"),
    click.option(
        "--deadline",
        type=float,
        default=900.0,
        show_default=True,
        metavar="SECONDS",
        help="The time limit for the whole order, including waits and retries.",
    ),
    click.option(
        "--attempts",
        type=int,
        default=4,
        show_default=True,
        help="Attempts; only unbilled ones are repeated.",
    ),
    click.option("--emulator", is_flag=True, help="Use a local emulator: no key, no network, no cost."),
    click.option("--json", is_flag=True, help="Print the details of the image as one JSON object."),
    click.option(
        "--field", "more", multiple=True, metavar="NAME=VALUE", help="Send any field unchecked; VALUE may be JSON."
    ),
)


@attrs.frozen(kw_only=True)
class Ordering:
    """The options that are not fields of the request."""

    output: Path | None
    model: str | None
    base_url: str | None
    timeout: float | None
    deadline: float
    attempts: int
    emulator: bool
    json: bool


def ordering_options(function: F) -> F:
    """Add the options of `Ordering` to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def split_options(options: Mapping[str, Any]) -> tuple[Ordering, dict[str, Any]]:
    """Separate the options of `Ordering` from the fields of the request: those to check, and those of `--field`."""
    names = [field.name for field in attrs.fields(Ordering)]
    fields = {name: value for name, value in options.items() if name not in (*names, "more") and value is not None}
    request = {"options": fields, "extra_body": dict(map(named_value, options["more"]))}
    return Ordering(**{name: options[name] for name in names}), request


def carry_out(ordering: Ordering, name: str, ask: Callable[..., Awaitable[GeneratedImage]], **call: Any) -> int:
    """Place one order, print the result, and return the exit code.

    Args:
        ordering: The options.
        name: The words to name the file after if there is no `output`.
        ask: Calls the method of the client.
        call: The arguments of that call.
    """
    from aimlapi_images import errors
    from aimlapi_images.cli.report import as_json, rescue, summary
    from aimlapi_images.media.files import free_name

    settings: dict[str, Any] = {"base_url": ordering.base_url, "deadline": ordering.deadline}
    if ordering.timeout is not None:
        settings["timeout"] = ordering.timeout
    if ordering.emulator:
        settings |= emulated()
    call["to"] = ordering.output or free_name(Path(), name)
    if ordering.model:
        call["model"] = ordering.model
    try:
        image = asyncio.run(_ask(ordering, settings, ask, call))
    except errors.ImageError as error:
        complain("; ".join([str(error), *rescue(error)]))
        return exit_code(error)
    except KeyboardInterrupt:
        complain("interrupted: if the request was sent already, it may be billed")
        return INTERRUPTED
    show = as_json if ordering.json else summary
    click.echo(show(image, emulated=ordering.emulator))
    return 0


async def _ask(
    ordering: Ordering,
    settings: Mapping[str, Any],
    ask: Callable[..., Awaitable[GeneratedImage]],
    call: Mapping[str, Any],
) -> GeneratedImage:
    from aimlapi_images.client import ImageClient
    from aimlapi_images.dispatch.retry import RetryPolicy

    client: ImageClient
    async with ImageClient(**settings, retry=RetryPolicy(attempts=ordering.attempts)) as client:
        return await ask(client, **call)
