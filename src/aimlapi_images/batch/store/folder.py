"""The output folder: names of files, what is in them, and the lock that keeps a second run out."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

import attrs

from aimlapi_images.errors import BatchError
from aimlapi_images.media.formats import EXTENSIONS, format_of, read_file_format

STATE: Final = "batch.sqlite"
RESULTS: Final = "results.jsonl"
CHANGED: Final = "has changed: it is fetched or made again, and the other is kept as"
MISSING: Final = "is missing: it is fetched or made again"
_LOCK: Final = "batch.lock"
_PER_FOLDER: Final = 1000
_PLAIN: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,78}[A-Za-z0-9_-])?")
# Names of devices on Windows, with any extension.
_DEVICE: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_LONGEST_WORDS: Final = 60  # bytes


def file_name(id_: str) -> str:
    """The name of a job's file, without extension: its id, if that is a name on every system.

    `cat.png` gives `cat`. Names may differ in case only, so that the state asks for a `hashed_name` then.
    """
    stem = id_.rpartition(".")[0] if _ends_like_an_image(id_) else id_
    if not _PLAIN.fullmatch(stem) or _DEVICE.fullmatch(stem) or _ends_like_an_image(stem):
        return hashed_name(id_)
    return stem


def _ends_like_an_image(name: str) -> bool:
    return "." in name and format_of(PurePosixPath(name)) is not None


def hashed_name(id_: str) -> str:
    """A name that no other id has. No plain name contains `~`."""
    words = re.sub(r"[^\w]+", "-", unicodedata.normalize("NFC", id_)).strip("-_")
    while len(words.encode()) > _LONGEST_WORDS:
        words = words[:-1]
    return f"{words}~{hashlib.sha256(id_.encode()).hexdigest()[:20]}"


def target(out: Path, job: int, name: str, images: int) -> Path:
    """Where a job's image goes, without extension. At most 1,000 jobs share a folder.

    Args:
        out: The output folder.
        job: The job's number, from 1.
        name: Its file's name.
        images: How many images it asks for. `fox~1` and `fox~1-2` cannot be the names of other jobs.
    """
    part = (job - 1) // _PER_FOLDER
    folder = out / f"{part:04}" if part else out
    return folder / (name if images == 1 else f"{name}~1")


def order_id(nonce: str, id_: str, number: int) -> str:
    """The id of an order: the batch's nonce, the job's id as far as the API takes it, and how often it was ordered."""
    return f"{nonce}-{plain_id(id_)}-{number}"


def plain_id(id_: str) -> str:
    """The part of order ids that stands for a job."""
    return id_ if re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", id_) else hashlib.sha256(id_.encode()).hexdigest()[:32]


def job_of(order: str) -> str:
    """The `plain_id` in an order id."""
    return order.partition("-")[2].rpartition("-")[0]


@attrs.frozen
class StoredImage:
    """An image file, as the state describes it. See the table `files`."""

    number: int
    path: str
    bytes: int
    sha256: str
    modified: int
    format: str
    width: int
    height: int
    seconds: float = 0.0


def describe(out: Path, path: Path, number: int = 1, seconds: float = 0.0) -> StoredImage:
    """Read what the state keeps about a file. Blocks.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not an image.
    """
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        kind = read_file_format(file, found.st_size)
    relative = path.relative_to(out).as_posix()
    return StoredImage(
        number, relative, found.st_size, digest, found.st_mtime_ns, kind.name, kind.width, kind.height, seconds
    )


def is_unchanged(out: Path, image: StoredImage, *, verify: bool) -> bool:
    """Whether a file is as it was saved. It is read only if its time differs, or to `verify` it.

    Raises:
        FileNotFoundError: It is missing.
    """
    path = out / image.path
    found = path.stat()
    if found.st_size != image.bytes:
        return False
    if found.st_mtime_ns == image.modified and not verify:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == image.sha256


def set_aside(path: Path) -> Path:
    """Rename a changed file, so that another one can be written. Returns its new path."""
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.stem}~changed-{number}{path.suffix}")):
        number += 1
    path.rename(aside)
    return aside


def existing(stem: Path) -> Path | None:
    """The image with this path, whatever its extension."""
    names = (stem.with_name(stem.name + extension) for each in EXTENSIONS.values() for extension in each)
    return next((path for path in names if path.is_file()), None)


def has_images(out: Path) -> bool:
    """Whether there are images in the folder."""
    return any(_ends_like_an_image(path.name) for path in out.iterdir())


def sync_folders(folders: set[Path]) -> None:
    """Make the names of new files survive a power failure. Blocks."""
    for folder in folders:
        with suppress(OSError):  # Windows has no such call
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the folder's lock. The system frees it when the process ends, however it ends.

    Raises:
        BatchError: Another run holds it, or the folder cannot be written.
    """
    path = out / _LOCK
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise BatchError(f"{out} cannot be used for a batch: {error.strerror}") from error
    with file:
        try:
            _lock(file.fileno())
        except BlockingIOError:
            file.seek(0)
            raise BatchError(f"another run uses {out}: {_holder(file.read())}. Wait for it, or stop it") from None
        except OSError as error:
            raise BatchError(f"{out} cannot be locked, which a batch needs: {error.strerror}") from error
        file.truncate(0)
        with suppress(OSError):  # a full disk: then nobody can say who holds it
            file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": utc_now()}))
            file.flush()
        yield


def _holder(text: str) -> str:
    try:
        held: dict[str, Any] = json.loads(text)
        return f"process {held['pid']} on {held['host']}, since {held['since']}"
    except (ValueError, KeyError, TypeError):
        return "a process that has not said which"


if os.name == "nt":  # pragma: no cover

    def _lock(descriptor: int) -> None:
        import msvcrt

        os.lseek(descriptor, 2**30, os.SEEK_SET)  # behind the text, which others read
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError as error:
            raise BlockingIOError(*error.args) from error

else:

    def _lock(descriptor: int) -> None:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def utc_now() -> str:
    """The time, as the state writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
