"""Options and execution shared by the commands that place one order."""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from aimlapi_images.cli.emulator import emulated
from aimlapi_images.cli.fields import named_value
from aimlapi_images.cli.process import INTERRUPTED, complain, fail, run

if TYPE_CHECKING:
    from aimlapi_images.models import GeneratedImage

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        help="The file to write: fox, fox.jpg for a JPEG, or - for standard output. "
        "[default: a name made from the prompt]",
    ),
    click.option("--overwrite", is_flag=True, help="Replace the file if it exists."),
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
    click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
    click.option("-v", "--verbose", count=True, help="Print what happens to the order; -vv: also each attempt."),
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
    overwrite: bool
    quiet: bool
    verbose: int


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
    if options["verbose"]:
        logging.basicConfig(format="%(message)s", level=logging.WARNING)
        logging.getLogger("aimlapi_images").setLevel(logging.INFO if options["verbose"] == 1 else logging.DEBUG)
    return Ordering(**{name: options[name] for name in names}), request


def read_prompt(prompt: str | None) -> str:
    """The prompt, or what standard input has if it is `-`."""
    if prompt is None:
        raise click.UsageError("Missing argument 'PROMPT'.")
    if prompt != "-":
        return prompt
    if sys.stdin is None:
        raise click.UsageError("the prompt is -, but there is no standard input")
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig").strip()
    except ValueError as error:
        raise click.UsageError("the prompt on standard input is not UTF-8") from error
    except OSError as error:
        raise click.UsageError(f"standard input cannot be read: {error.strerror}") from error


def carry_out(ordering: Ordering, name: str, ask: Callable[..., Awaitable[GeneratedImage]]) -> int:
    """Place one order, print the result, and return the exit code.

    Args:
        ordering: The options.
        name: The words to name the file after if there is no `output`.
        ask: Calls the method of the client.
    """
    from aimlapi_images import errors
    from aimlapi_images.cli.report import rescue, show

    to_stdout = str(ordering.output) == "-"
    if to_stdout and (sys.stdout is None or sys.stdout.isatty()):
        raise click.UsageError("-o - writes the image to standard output, which has to be a file or a pipe")
    order = uuid.uuid4().hex
    sent: list[str] = []
    try:
        image = run(_place(ordering, name, ask, order, sent))
    except errors.ImageError as error:
        return fail(error, *rescue(error), as_json=ordering.json and not to_stdout)
    except KeyboardInterrupt:
        asked = f"{order} was sent and may be billed: the provider's log lists it" if sent else "nothing was sent"
        complain(f"interrupted: {f'order {asked}' if sent else asked}")
        return INTERRUPTED
    if not ordering.quiet:
        show(image, emulated=ordering.emulator, as_json=ordering.json, err=to_stdout)
    return 0


async def _place(
    ordering: Ordering, name: str, ask: Callable[..., Awaitable[GeneratedImage]], order: str, sent: list[str]
) -> GeneratedImage:
    from aimlapi_images.cli.report import check_free_name, save_under_free_name, write_to_stdout
    from aimlapi_images.client import ImageClient
    from aimlapi_images.dispatch.retry import RetryPolicy
    from aimlapi_images.events import AttemptStarted, Event

    async def observe(event: Event) -> None:
        if isinstance(event, AttemptStarted):
            sent.append(event.request_id)

    settings: dict[str, Any] = {"base_url": ordering.base_url, "deadline": ordering.deadline, "observer": observe}
    if ordering.timeout is not None:
        settings["timeout"] = ordering.timeout
    if ordering.emulator:
        settings |= emulated()
    call: dict[str, Any] = {"order": order, "overwrite": ordering.overwrite}
    if ordering.model:
        call["model"] = ordering.model
    to_stdout = str(ordering.output) == "-"
    if ordering.output is None:
        check_free_name(name)
    elif not to_stdout:
        call["to"] = ordering.output
    async with ImageClient(**settings, retry=RetryPolicy(attempts=ordering.attempts)) as client:
        image = await ask(client, **call)
        if to_stdout:
            write_to_stdout(image)
        return image if ordering.output else await save_under_free_name(image, name)
