"""How the command runs and ends: signals, exit codes, and errors on standard error."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

import click

FAILED: Final = 1
USAGE: Final = 2
REFUSED: Final = 3
UNKNOWN: Final = 4
INTERRUPTED: Final = 130

ResultT = TypeVar("ResultT")


def run(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Like `asyncio.run`, but SIGTERM and SIGHUP cancel the work, too, so that it cleans up.

    Raises:
        KeyboardInterrupt: Ctrl-C or one of these signals.
    """

    async def cancellable() -> ResultT:
        task = asyncio.current_task()
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if task is not None and number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
                    asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await work

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def drain_on_signals(stop: asyncio.Event, hint: str) -> None:
    """Let Ctrl-C or SIGTERM set an event, and a second one cancel the current task."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()

    def interrupted() -> None:
        if not stop.is_set():
            stop.set()
            complain(f"finishing what is paid for; once more to stop at once; {hint}")
        elif task is not None:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
            loop.add_signal_handler(number, interrupted)


def complain(message: str, hint: str | None = None) -> None:
    """Print an error in one line."""
    line = " ".join(message.split())
    click.echo(f"aimlapi-images: {line}" + (f" ({hint})" if hint else ""), err=True)


def fail(error: Exception, *more: str, as_json: bool = False) -> int:
    """Print an error of the library, also as JSON on standard output if wanted. Returns the exit code."""
    complain("; ".join([str(error), *more]))
    if as_json:
        names = ("status", "order", "inference_id", "may_be_billed", "urls")
        known = {name: getattr(error, name, None) for name in names}
        click.echo(json.dumps({"error": type(error).__name__, "message": str(error), **known, "notes": more}))
    return exit_code(error)


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
