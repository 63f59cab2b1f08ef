"""Files appear whole or not at all, and never over another one unless asked."""

from __future__ import annotations

import errno
import io
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from aimlapi_images.media.formats import format_of, with_extension

_NAME_LENGTH = 60
# On Windows these are devices, with any extension.
_RESERVED_NAMES = {"con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in range(10))}


def check_target(path: Path, format_name: str, *, overwrite: bool = False) -> Path:
    """Where an image of this format would be written for `path`, if it can be.

    Returns:
        The path with the extension that fits the format.

    Raises:
        OSError: The path names no file, its folder is missing or not writable, or the name is too long.
        FileExistsError: A file is there already, and `overwrite` is false.
    """
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, "this names a folder, not a file", str(path))
    target = Path(with_extension(path, format_name))
    if not target.parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "the folder does not exist", str(target.parent))
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "the folder is not writable", str(target.parent))
    # The path as given, too: `trex` that is a folder is more likely a mistake than a wish for `trex.png`.
    for each in {path, target}:
        try:
            os.lstat(each)
        except FileNotFoundError:
            continue
        if each.is_dir():
            raise IsADirectoryError(errno.EISDIR, "this is a folder, not a file", str(each))
        if not overwrite and each == target:
            raise _exists(each)
    return target


def write_whole(target: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write a file so that no one ever sees a part of it: temporary beside it, fsync, rename.

    The bytes go to the disk before the name appears. Blocks; call it off the event loop.

    Raises:
        FileExistsError: A file is there already, and `overwrite` is false.
        OSError: It could not be written. Nothing is left behind.
    """
    part, file = open_part(target.parent)
    try:
        with file, io.BufferedWriter(file) as writer:
            writer.write(data)
            writer.flush()
            os.fsync(file.fileno())
        put_in_place(part, target, overwrite=overwrite)
    finally:
        part.unlink(missing_ok=True)


def open_part(folder: Path) -> tuple[Path, io.FileIO]:
    """Create a temporary file for a file that will get its name in this folder once it is complete.

    Returns:
        Its path, and the unbuffered file, open for writing and reading.
    """
    part = folder / f".{secrets.token_hex(8)}.part"
    # Not with tempfile, whose files only their owner may read: an image follows the umask.
    return part, part.open("x+b", buffering=0)


def put_in_place(part: Path, target: Path, *, overwrite: bool = False) -> None:
    """Rename a complete, closed temporary file. The target's name never appears before its bytes.

    Without `overwrite`, the check and the rename are one step: a hard link on POSIX, a plain rename on Windows. File
    systems without hard links (FAT, some network shares) have no such step, so there a file that another process
    creates between the check and the rename is overwritten. Reserving the name first would close that gap, but an
    interrupted process would leave an empty file that blocks the next run.

    Raises:
        FileExistsError: The target exists, and `overwrite` is false.
        OSError: The file could not be renamed.
    """
    if overwrite:
        part.replace(target)
    elif os.name == "nt":  # pragma: no cover
        part.rename(target)
    elif _link(part, target):
        with suppress(OSError):  # the target is complete, whatever happens to the other name
            part.unlink()
    elif os.path.lexists(target):
        raise _exists(target)
    else:
        part.replace(target)


def _link(part: Path, target: Path) -> bool:
    """Give the file a second name. Returns `False` if the file system has no hard links."""
    try:
        target.hardlink_to(part)
    except FileExistsError:
        raise _exists(target) from None
    except OSError:
        return False
    return True


def _exists(path: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "a file is there already", str(path))


def free_name(folder: Path, words: str) -> Path:
    """A path in the folder, named after some words, that no file of any image format has yet."""
    stem = re.sub(r"[^\w]+", "-", words.lower()).strip("-_")[:_NAME_LENGTH].rstrip("-_") or "image"
    if stem in _RESERVED_NAMES:
        stem = f"{stem}-image"
    taken = {entry.stem.lower() for entry in folder.iterdir()}
    names = (stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 3)))
    return folder / next(name for name in names if name not in taken)


def free_number(path: Path, number: int) -> Path:
    """The path for the image of this number, from 1: the path itself, then `fox-2` for `fox`, or the next one free."""
    if number == 1:
        return path
    stem = path.name if format_of(path) is None else path.stem
    taken = {entry.stem for entry in path.parent.iterdir()}
    while f"{stem}-{number}" in taken:
        number += 1
    return path.with_name(f"{stem}-{number}")
