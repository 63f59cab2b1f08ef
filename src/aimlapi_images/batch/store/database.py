"""One SQLite file: opening, transactions, and a thread that writes for an event loop.

SQLite survives crashes at any moment. Changes that happen at the same time share one transaction, so that durability
costs one sync for many of them.
"""

from __future__ import annotations

import asyncio
import os
import queue
import secrets
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeVar

from aimlapi_images.batch.store.folder import sync_folders
from aimlapi_images.errors import BatchError

_APPLICATION_ID: Final = 0x41494D4C  # "AIML"
_VERSION: Final = 2
_RESERVE_BYTES: Final = 4 * 2**20
_PIECE_BYTES: Final = 64 * 2**10
_GATHERING: Final = 0.01  # seconds: next to nothing for an order, and enough for many to share a transaction
_SETTINGS: Final = ("journal_mode = WAL", "synchronous = FULL", "cache_size = -32000", "temp_store = MEMORY")

T = TypeVar("T")


class Database:
    """The state file of one folder, opened.

    Args:
        path: The file; it is created if it does not exist. In memory if `None`.
        reserve: Whether to keep a little space on the disk: if it gets full, what is paid for is still recorded.
        readonly: Whether only to read it, even while a run writes to it.

    Attributes:
        is_new: Whether no run has used it yet.
        is_full: Whether the disk was full. What follows still finds the space that was kept.
        new_folders: Folders whose new files the next transaction makes durable.

    Raises:
        BatchError: The file is damaged, or is no state of a batch.
    """

    def __init__(self, path: Path | None, *, reserve: bool = False, readonly: bool = False) -> None:
        self._path = path
        self._reserve = path.with_suffix(".reserve") if path and reserve else None
        self.new_folders: set[Path] = set()
        self.is_full: bool = False
        try:
            # Not `ro`: such a connection leaves the files of the journal behind.
            name = f"{path.as_uri()}?mode={'rw' if readonly else 'rwc'}" if path else ":memory:"
            self.db: sqlite3.Connection = sqlite3.connect(
                name, isolation_level=None, check_same_thread=False, timeout=30, uri=True
            )
        except sqlite3.Error as error:
            raise _error(path, error) from error
        try:
            self.db.row_factory = sqlite3.Row
            for setting in ("query_only = ON",) if readonly else _SETTINGS:
                self.db.execute(f"PRAGMA {setting}")
            self._open()
            self._file = path and path.stat().st_ino
            if self._reserve:
                self._reserve.write_bytes(secrets.token_bytes(_RESERVE_BYTES))  # zeros may take no space
        except BatchError:
            self.db.close()
            raise
        except (sqlite3.Error, OSError) as error:
            self.db.close()
            raise _error(path, error) from error

    def _open(self) -> None:
        (id_,), (version,) = (
            self.db.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
        )
        if not id_ and not self.db.execute("SELECT 1 FROM sqlite_master").fetchone():
            tables = (files("aimlapi_images.batch.store") / "tables.sql").read_text(encoding="utf-8")
            settings = f"PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {_VERSION};"
            nonce = f"INSERT INTO batch (nonce) VALUES ('{secrets.token_hex(4)}');"  # noqa: S608
            self.db.executescript(f"BEGIN IMMEDIATE; {tables} {nonce} {settings} COMMIT;")
        elif id_ != _APPLICATION_ID:
            raise BatchError(f"{self._path} is not the state of a batch")
        elif version != _VERSION:
            raise BatchError(f"{self._path} was written by another version of this package (format {version})")
        elif (found := self.db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise _Damaged(found)
        self.is_new: bool = not self.db.execute("SELECT 1 FROM runs").fetchone()

    def close(self) -> None:
        """Close the file. Nothing is lost without it."""
        with suppress(sqlite3.Error):
            self.db.close()
        if self._reserve:
            with suppress(OSError):
                self._reserve.unlink(missing_ok=True)

    def transaction(self, work: Callable[[], T], *, keep: bool = True) -> T:
        """Do some work in one transaction, durable when this returns; undone if not to `keep`, or if it fails."""
        try:
            return self._transaction(work, keep)
        except sqlite3.Error as error:
            self.is_full = getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
            if not self.is_full or not self._free_some():
                raise _error(self._path, error) from error
            return self.transaction(work, keep=keep)

    def _free_some(self) -> bool:
        """Free some of the space that was kept. Little by little, as images that are being written want it, too."""
        if self._reserve is None or not self._reserve.exists() or not (size := self._reserve.stat().st_size):
            return False
        os.truncate(self._reserve, max(0, size - _PIECE_BYTES))
        return True

    def _transaction(self, work: Callable[[], T], keep: bool) -> T:
        self._check_place()
        self.db.execute("BEGIN IMMEDIATE")
        try:
            result = work()
            sync_folders(self.new_folders)
            self.db.execute("COMMIT" if keep else "ROLLBACK")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise
        self.new_folders.clear()
        return result

    def _check_place(self) -> None:
        try:
            if self._path is None or self._path.stat().st_ino == self._file:
                return
        except OSError:
            pass
        raise BatchError(f"{self._path} was removed or replaced while it was used")

    def rescue(self) -> str:
        """Copy the database to the temporary folder if its file is gone. Says where, as the end of a sentence."""
        if self._path is None or self._path.exists():
            return ""
        try:
            path = Path(tempfile.mkdtemp(prefix="aimlapi-images-")) / self._path.name
            copy_database(self.db, path)
        except (sqlite3.Error, OSError) as error:
            return f"; its state is lost: {error}"
        return f"; its state is kept as {path}"


def copy_database(source: sqlite3.Connection, path: Path, last: str = "", *values: object) -> None:
    """Copy a database to one file, also while it changes, and then do something `last` in the copy."""
    with closing(sqlite3.connect(path, isolation_level=None)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
        copy.execute(last, values)


class Journal:
    """Writes from an event loop: in one thread, with one transaction for all that waits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._waiting: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="aimlapi-images batch")
        self._thread.start()

    def write(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Call a function that changes the database. The future is done when its effect is durable.

        If it fails for a reason of its own, it must not have changed anything yet: the others are written.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # not all are awaited
        self._waiting.put((lambda: work(*arguments), future))
        return future

    def close(self) -> None:
        """Write what is waiting, and end the thread. Blocks."""
        self._waiting.put(None)
        self._thread.join()

    def _write(self) -> None:
        while True:
            batch = [self._waiting.get()]
            time.sleep(_GATHERING)
            with suppress(queue.Empty):
                while batch[-1] is not None:
                    batch.append(self._waiting.get_nowait())
            items = [each for each in batch if each is not None]
            outcomes: list[tuple[Any, Exception | None]]
            try:
                outcomes = self._database.transaction(lambda: [_outcome(work) for work, _ in items])  # noqa: B023
            except Exception as error:
                outcomes = [(None, error)] * len(items)
            futures = [future for _, future in items]
            self._loop.call_soon_threadsafe(_resolve, futures, outcomes)
            if batch[-1] is None:
                return


def _outcome(work: Callable[[], Any]) -> tuple[Any, Exception | None]:
    try:
        return work(), None
    except sqlite3.Error:
        raise  # the whole transaction has failed
    except Exception as error:
        return None, error


def _resolve(futures: list[asyncio.Future[Any]], outcomes: list[tuple[Any, Exception | None]]) -> None:
    for future, (result, error) in zip(futures, outcomes, strict=True):
        if future.done():
            continue  # cancelled
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def _error(path: Path | None, error: sqlite3.Error | OSError) -> BatchError:
    damaged = getattr(error, "sqlite_errorname", "") in ("SQLITE_CORRUPT", "SQLITE_NOTADB") or type(error) is _Damaged
    advice = (
        ". It is damaged; nothing was sent. Restore it from a copy, or move it away and run again with adopt "
        "(--adopt): the images that are there then count as made"
    )
    return BatchError(f"{path} cannot be used: {error}{advice if damaged else ''}")


class _Damaged(sqlite3.DatabaseError):
    """SQLite's own check has found damage."""
