"""The command line. Options are generated from the schema.

Exit codes: 0 success; 1 an unexpected error, or nobody reads the output; 2 a usage error or an invalid request;
3 refused by the API; 4 a network error, an unknown outcome, or a failure of the API's servers; 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Sequence

from aimlapi_images.about import needs_extra, package_version

try:
    import click
except ModuleNotFoundError:  # pragma: no cover - tried with the built wheel, in an environment without it
    sys.exit(f"aimlapi-images: {needs_extra('the command', 'cli')}")

from aimlapi_images.cli.account import balance, logs
from aimlapi_images.cli.batch import batch, reconcile, results
from aimlapi_images.cli.edit import edit
from aimlapi_images.cli.emulator import emulator
from aimlapi_images.cli.generate import generate
from aimlapi_images.cli.process import FAILED, INTERRUPTED, USAGE, complain


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit. Errors are one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for prompts that the terminal cannot display
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: complain(str(message))
            code = command.main(args=arguments, prog_name="aimlapi-images", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(USAGE)
    except click.UsageError as error:
        complain(error.format_message(), hint=f"try: {error.ctx.command_path} --help" if error.ctx else None)
        sys.exit(USAGE)
    except BrokenPipeError:  # nobody reads the output any more, as in `aimlapi-images logs | head -1`
        _drop_output()
        sys.exit(FAILED)
    except Exception as error:
        complain(f"unexpected error, please report it: {type(error).__name__}: {str(error)[:500]}")
        sys.exit(FAILED)
    try:
        sys.stdout.flush()
    except (AttributeError, OSError):  # there is no standard output, or nobody reads it
        _drop_output()
    sys.exit(code if isinstance(code, int) else 0)


def _drop_output() -> None:
    """Keep Python from flushing what is left, and from printing a traceback when it cannot."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_version(), message="aimlapi-images %(version)s")
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
