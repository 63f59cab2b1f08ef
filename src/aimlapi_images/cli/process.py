"""How the command runs and ends: signals, standard streams, exit codes, and errors on standard error."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Self, TextIO, TypeVar

import click

FAILED: Final = 1
USAGE: Final = 2
REFUSED: Final = 3
UNKNOWN: Final = 4
INTERRUPTED: Final = 130

_SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGHUP")
_SECONDS_TO_CLEAN_UP: Final = 10.0
_PIECE_BYTES: Final = 64 * 2**10

ResultT = TypeVar("ResultT")


class Signals:
    """Turns the first Ctrl-C, SIGTERM or SIGHUP into a `KeyboardInterrupt`, or cancels the work that `run` does.

    Further signals are ignored, so that they do not disturb the clean-up. If that takes longer than 10 s, such as on a
    network drive that hangs, the process ends. Signals that are ignored already stay so, as `nohup` wants.
    """

    def __init__(self) -> None:
        self.cancel: Callable[[], object] | None = None
        self._before: dict[int, Any] = {}
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
        if threading.current_thread() is threading.main_thread():
            free = [each for each in numbers if signal.getsignal(each) not in (signal.SIG_IGN, None)]
            self._before = {each: signal.signal(each, self._received) for each in free}
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for number, handler in self._before.items():
            # After a signal the process ends, and a further one must not disturb that.
            signal.signal(number, handler if self._timer is None else signal.SIG_IGN)

    def _received(self, *_: object) -> None:
        if self._timer is not None:
            return
        self._timer = threading.Timer(_SECONDS_TO_CLEAN_UP, os._exit, [INTERRUPTED])
        self._timer.daemon = True
        self._timer.start()
        if self.cancel is None:
            raise KeyboardInterrupt
        self.cancel()


def run(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Like `asyncio.run`, but SIGTERM and SIGHUP cancel the work as Ctrl-C does, so that it cleans up.

    Raises:
        KeyboardInterrupt: One of these signals came.
    """
    context = click.get_current_context(silent=True)
    signals = (context and context.find_object(Signals)) or Signals()

    async def cancellable() -> ResultT:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        signals.cancel = lambda: task and loop.call_soon_threadsafe(task.cancel)
        try:
            return await work
        finally:
            signals.cancel = None

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
        if signal.getsignal(number) is not signal.SIG_IGN:
            with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
                loop.add_signal_handler(number, interrupted)


def read_stdin(what: str, max_bytes: int) -> bytes:
    """Read standard input to its end.

    Raises:
        click.UsageError: There is no standard input, it cannot be read, or it has more than `max_bytes`.
    """
    if sys.stdin is None:
        raise click.UsageError(f"{what} is -, but there is no standard input")
    raw, data = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer), bytearray()
    try:
        while len(data) <= max_bytes and (piece := raw.read(_PIECE_BYTES)) != b"":
            if piece is None:  # nothing yet: Python's stream would take that for the end
                select.select([sys.stdin], [], [])
            else:
                data += piece
    except OSError as error:
        raise click.UsageError(f"standard input cannot be read: {error.strerror}") from error
    if len(data) > max_bytes:
        raise click.UsageError(f"{what} on standard input has more than {max_bytes:,} bytes")
    return bytes(data)


def drop(stream: TextIO | None) -> None:
    """Give up a standard stream that takes no more: what it still holds would fail, or block, when Python exits."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[union-attr]


def flush() -> None:
    """Write out what the standard streams hold, as far as they take it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            drop(stream)


def complain(message: str, hint: str | None = None) -> None:
    """Print an error in one line, without control characters. It must not fail: nothing could be said about it."""
    line = " ".join(f"{message} ({hint})".split() if hint else message.split())
    line = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
    with suppress(OSError, ValueError):
        click.echo(f"aimlapi-images: {line}", err=True)


def tell(kind: str, message: str, *notes: str, as_json: bool, err: bool = False, **known: Any) -> None:
    """Print what went wrong in one line on standard error, and also as JSON if wanted.

    Args:
        kind: The name of the error.
        message: What happened.
        notes: What else is to be known.
        as_json: Print the JSON object, too.
        err: Print it to standard error, since standard output has the image.
        known: Further fields of the JSON object.
    """
    complain("; ".join([message, *notes]))
    if as_json:
        with suppress(OSError, ValueError):
            click.echo(json.dumps({"error": kind, "message": message, **known, "notes": notes}), err=err)


def fail(error: Exception, *notes: str, as_json: bool = False, err: bool = False) -> int:
    """Report an error of the library. Returns the exit code."""
    names = ("status", "order", "inference_id", "may_be_billed", "urls")
    known = {name: getattr(error, name, None) for name in names}
    tell(type(error).__name__, str(error), *notes, as_json=as_json, err=err, **known)
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
