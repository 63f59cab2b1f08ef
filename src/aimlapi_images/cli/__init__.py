"""The command line. Options are generated from the schema.

Exit codes: 0 success; 1 an unexpected error, or nobody reads the output; 2 a usage error or an invalid request;
3 refused by the API; 4 a network error, an unknown outcome, or a failure of the API's servers; 130 interrupted.
"""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from aimlapi_images.about import VERSION, needs_extra

try:
    import click
except ModuleNotFoundError:  # pragma: no cover - tried with the built wheel, in an environment without it
    sys.exit(f"aimlapi-images: {needs_extra('the command', 'cli')}")

from aimlapi_images.cli.account import balance, logs
from aimlapi_images.cli.batch import batch, reconcile, results
from aimlapi_images.cli.edit import edit
from aimlapi_images.cli.emulator import emulator
from aimlapi_images.cli.gallery import gallery
from aimlapi_images.cli.generate import generate
from aimlapi_images.cli.process import FAILED, INTERRUPTED, USAGE, Signals, complain, flush, tell

_COMPLETION = "_AIMLAPI_IMAGES_COMPLETE"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit. Errors are one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for prompts that the terminal cannot display
    given = list(sys.argv[1:] if arguments is None else arguments)
    with Signals() as signals:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = lambda message, *_, **__: complain(str(message))
                code = _run(given, signals)
        except KeyboardInterrupt:
            code = INTERRUPTED
        finally:
            flush()
    sys.exit(code)


def _run(arguments: list[str], signals: Signals) -> int:
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    image_to_stdout = "--output=-" in options or {("-o", "-"), ("--output", "-")} & set(pairwise(options))
    failed = partial(tell, as_json="--json" in options, err=bool(image_to_stdout))
    completion = os.environ.get(_COMPLETION, "")
    if completion and not re.fullmatch("(bash|zsh|fish)_(source|complete)", completion):
        complain(f"{_COMPLETION} must be bash_source, zsh_source or fish_source, not {completion!r}")
        return USAGE
    try:
        code = command.main(args=arguments, prog_name="aimlapi-images", standalone_mode=False, obj=signals)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return USAGE
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "aimlapi-images"
        failed("UsageError", f"{error.format_message()} (try: {path} --help)")
        return USAGE
    except (_InterruptedError, click.exceptions.Abort):
        failed("Interrupted", "interrupted")
        return INTERRUPTED
    except OSError as error:
        failed("OSError", f"input or output failed: {error.strerror or error}")
        return FAILED
    except Exception as error:
        failed(type(error).__name__, f"unexpected error, please report it: {type(error).__name__}: {str(error)[:500]}")
        return FAILED
    return code if isinstance(code, int) else 0


class _InterruptedError(BaseException):
    """A `KeyboardInterrupt` that click does not catch, as it would print an empty line."""


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _InterruptedError from None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, message="aimlapi-images %(version)s")
def command() -> None:
    """Generate and edit images with AI/ML API's model openai/gpt-image-1-5.

    The key is read from AIMLAPI_API_KEY (or AIML_API_KEY). `--emulator` needs no key and costs nothing.
    """


command.add_command(generate)
command.add_command(edit)
command.add_command(balance)
command.add_command(logs)
command.add_command(emulator)
command.add_command(batch)
command.add_command(reconcile)
command.add_command(results)
command.add_command(gallery)
