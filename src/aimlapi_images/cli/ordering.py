"""What the commands that give one order share: its options, and its way from them to a file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from aimlapi_images.cli.emulator import emulated
from aimlapi_images.cli.endings import INTERRUPTED, complain, exit_code
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
        help="Where to: fox, or fox.jpg for a JPEG. [default: a name made of the prompt]",
    ),
    click.option("--model", help="Another model. One that the schema does not describe is sent unchecked."),
    click.option("--base-url", metavar="URL", help="The API's address, if not https://api.aimlapi.com."),
    click.option("--timeout", type=float, metavar="SECONDS", help="How long to wait for the answer. [default: 300]"),
    click.option(
        "--deadline",
        type=float,
        default=900.0,
        show_default=True,
        metavar="SECONDS",
        help="For all of it, waiting and retries included.",
    ),
    click.option("--attempts", type=int, default=4, show_default=True, help="How often to try what is not billed."),
    click.option("--emulator", is_flag=True, help="Draw a picture here instead: no key, no network, no cost."),
    click.option("--json", is_flag=True, help="Print what is known of the image as one JSON object."),
    click.option("--field", "more", multiple=True, metavar="NAME=VALUE", help="Any other field; VALUE may be JSON."),
)


@attrs.frozen(kw_only=True)
class Ordering:
    """How an order is to be carried out, as the command's options say."""

    output: Path | None
    model: str | None
    base_url: str | None
    timeout: float | None
    deadline: float
    attempts: int
    emulator: bool
    json: bool


def ordering_options(function: F) -> F:
    """Add the options that `Ordering` is made from."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def split_options(options: Mapping[str, Any]) -> tuple[Ordering, dict[str, Any]]:
    """The options of the ordering, and the fields of the request that were given; with `--field`, any."""
    names = [field.name for field in attrs.fields(Ordering)]
    fields = {name: value for name, value in options.items() if name not in (*names, "more") and value is not None}
    fields |= dict(map(named_value, options["more"]))
    return Ordering(**{name: options[name] for name in names}), fields


def carry_out(ordering: Ordering, name: str, ask: Callable[..., Awaitable[GeneratedImage]], **call: Any) -> int:
    """Give one order, say what came of it, and give the exit code.

    Args:
        ordering: How.
        name: Words to name the file after, if there is no `output`.
        ask: Calls the client's method.
        call: Arguments of that call.
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
