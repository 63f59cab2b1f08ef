"""Files appear whole or not at all, and never over another one unless asked."""

from __future__ import annotations

import errno
import os
import re
import secrets
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
            raise FileExistsError(errno.EEXIST, "a file is there already", str(each))
    return target


def write_whole(target: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write a file so that no one ever sees a part of it: temporary beside it, fsync, rename.

    The bytes go to the disk before the name appears. Blocks; call it off the event loop.

    Raises:
        FileExistsError: A file is there already, and `overwrite` is false.
        OSError: It could not be written. Nothing is left behind.
    """
    part, descriptor = open_part(target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        put_in_place(part, target, overwrite=overwrite)
    finally:
        part.unlink(missing_ok=True)


def open_part(folder: Path) -> tuple[Path, int]:
    """Make a temporary file, for what is to have a name in this folder when it is whole.

    Returns:
        Its path, and a descriptor to write to and to read from.
    """
    part = folder / f".{secrets.token_hex(8)}.part"
    # Not through tempfile: its files are for the owner alone, and an image should follow the umask.
    return part, os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)


def put_in_place(part: Path, target: Path, *, overwrite: bool = False) -> None:
    """Give a whole, closed temporary file its name. The temporary name may remain, and is to be removed.

    Raises:
        FileExistsError: A file is there already, and `overwrite` is false.
        OSError: It could not be renamed.
    """
    if overwrite:
        part.replace(target)
    else:
        _rename_new(part, target)


def _rename_new(temporary: Path, target: Path) -> None:
    """Rename, and fail if the target is there, without a moment between looking and doing."""
    if os.name == "nt":  # pragma: no cover - there, a plain rename does that
        temporary.rename(target)
        return
    try:
        target.hardlink_to(temporary)
    except FileExistsError:
        raise FileExistsError(errno.EEXIST, "a file is there already", str(target)) from None
    except OSError:
        # A file system without hard links: take the name first, then put the file in its place.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            temporary.replace(target)
        except OSError:
            target.unlink()
            raise


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
