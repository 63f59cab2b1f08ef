"""Exit codes, and errors on standard error."""

from __future__ import annotations

from typing import Final

import click

USAGE: Final = 2
REFUSED: Final = 3
UNKNOWN: Final = 4
INTERRUPTED: Final = 130


def complain(message: str, hint: str | None = None) -> None:
    """Print an error in one line."""
    line = " ".join(message.split())
    click.echo(f"aimlapi-images: {line}" + (f" ({hint})" if hint else ""), err=True)


def exit_code(error: Exception) -> int:
    """The exit code for an error of the library."""
    from aimlapi_images import errors

    match error:
        case errors.InvalidRequestError() | errors.NotSavedError():
            return USAGE
        case errors.ServerError():
            return UNKNOWN
        case errors.APIStatusError():
            return REFUSED
    return UNKNOWN
