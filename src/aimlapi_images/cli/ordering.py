"""Options and execution shared by the commands that place one order."""

from __future__ import annotations

import logging
import os
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import click

from aimlapi_images.cli.emulator import base_url_option, emulated, emulator_option
from aimlapi_images.cli.fields import named_value
from aimlapi_images.cli.process import FAILED, INTERRUPTED, complain, drop, fail, read_stdin, run, tell

if TYPE_CHECKING:
    from aimlapi_images.cli.report import Watch
    from aimlapi_images.models import GeneratedImage

F = TypeVar("F", bound=Callable[..., Any])

STANDARD_STREAM: Final = "-"
_MAX_PROMPT_BYTES: Final = 2**20

_OPTIONS = (
    click.option(
        "-o",
        "--output",
        type=click.Path(),
        help="The file to write: fox, fox.jpg for a JPEG, or - for standard output. "
        "[default: a name made from the prompt]",
    ),
    click.option("--overwrite", is_flag=True, help="Replace the file if it exists."),
    click.option("--model", help="Another model. Requests for a model without a schema are sent unchecked."),
    base_url_option,
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
    emulator_option,
    click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
    click.option("-v", "--verbose", count=True, help="Print what happens to the order; -vv: also each attempt."),
    click.option("--json", is_flag=True, help="Print the result, or what went wrong, as one JSON object."),
    click.option(
        "--field", "more", multiple=True, metavar="NAME=VALUE", help="Send any field unchecked; VALUE may be JSON."
    ),
)


@attrs.frozen(kw_only=True)
class Ordering:
    """The options that are not fields of the request."""

    output: str | None
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
    more = dict(map(named_value, options["more"]))
    if options["output"] == STANDARD_STREAM:
        if sys.stdout is None or sys.stdout.isatty():
            raise click.UsageError("-o - writes the image to standard output, which has to be a file or a pipe")
        if any((fields | more).get(name) not in (None, 1) for name in ("n", "num_images")):
            raise click.UsageError("-o - writes one image, not several")
    return Ordering(**{name: options[name] for name in names}), {"options": fields, "extra_body": more}


def read_prompt(prompt: str) -> str:
    """The prompt, or what standard input has if it is `-`."""
    if prompt != STANDARD_STREAM:
        with suppress(UnicodeError):  # Python could not decode it in the locale C
            return prompt if prompt.isprintable() else os.fsencode(prompt).decode()
        return prompt
    try:
        return read_stdin("the prompt", _MAX_PROMPT_BYTES).decode("utf-8-sig").strip()
    except ValueError as error:
        raise click.UsageError("the prompt on standard input is not UTF-8") from error


def carry_out(ordering: Ordering, name: str, ask: Callable[..., Awaitable[GeneratedImage]]) -> int:
    """Place one order, print the result, and return the exit code.

    Args:
        ordering: The options.
        name: The words to name the file after if there is no `output`.
        ask: Calls the method of the client.
    """
    from aimlapi_images import errors
    from aimlapi_images.cli.report import Watch, lost_in, rescue, save_under_free_names, show, summary, write_to_stdout

    to_stdout = ordering.output == STANDARD_STREAM
    watch = Watch(uuid.uuid4().hex)
    report_to: dict[str, Any] = {"as_json": ordering.json, "err": to_stdout}
    try:
        with _narrated(ordering.verbose):
            image = run(_place(ordering, name, ask, watch))
        if to_stdout:
            write_to_stdout(watch.images)
        elif ordering.output is None:
            save_under_free_names(watch.images, name)
            image = attrs.evolve(watch.images[0], others=tuple(watch.images[1:]))
    except errors.ImageError as error:
        return fail(error, *rescue(error.order, lost_in(error)), **report_to)
    except KeyboardInterrupt:
        lost = (image.data for image in watch.images if image.path is None)
        known: dict[str, Any] = {"order": watch.order, "may_be_billed": watch.may_be_billed, "urls": watch.urls}
        tell("Interrupted", f"interrupted: {watch}", *rescue(watch.order, lost), **report_to, **known)
        return INTERRUPTED
    if ordering.quiet:
        return 0
    try:
        show(image, ordering.emulator, as_json=ordering.json, err=to_stdout)
    except (OSError, KeyboardInterrupt) as error:
        drop(sys.stdout)
        reason = error.strerror if isinstance(error, OSError) else "interrupted"
        complain(f"standard output cannot be written: {reason}; the result is {summary(image, ordering.emulator)}")
        return FAILED if isinstance(error, OSError) else INTERRUPTED
    return 0


async def _place(
    ordering: Ordering, name: str, ask: Callable[..., Awaitable[GeneratedImage]], watch: Watch
) -> GeneratedImage:
    from aimlapi_images.cli.report import check_free_name
    from aimlapi_images.client import ImageClient
    from aimlapi_images.dispatch.retry import RetryPolicy

    settings: dict[str, Any] = {"base_url": ordering.base_url, "deadline": ordering.deadline, "observer": watch}
    if ordering.timeout is not None:
        settings["timeout"] = ordering.timeout
    if ordering.emulator:
        settings |= emulated()
    call: dict[str, Any] = {"order": watch.order, "overwrite": ordering.overwrite}
    if ordering.model:
        call["model"] = ordering.model
    if ordering.output is None:
        check_free_name(name)
    elif ordering.output != STANDARD_STREAM:
        call["to"] = ordering.output
    async with ImageClient(**settings, retry=RetryPolicy(attempts=ordering.attempts)) as client:
        return await ask(client, **call)


class _Lines(logging.Handler):
    """Prints log messages as the command prints errors."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage())


@contextmanager
def _narrated(verbose: int) -> Iterator[None]:
    """Print what happens to the order meanwhile, as far as `--verbose` asks for it."""
    logger, handler = logging.getLogger("aimlapi_images"), _Lines()
    level = logger.level
    if verbose:
        logger.setLevel(logging.INFO if verbose == 1 else logging.DEBUG)
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
