"""Image files: names, and writes that are complete or leave nothing."""

import errno
import itertools
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Final

from aimlapi_images.media.formats import format_of, with_extension

_STALE_SECONDS: Final = 24 * 3600
_PARTS: Final = f".aimlapi-images-{'[0-9a-f]' * 16}.part"


def check_target(path: Path, format_name: str, *, overwrite: bool = False) -> Path:
    """The path with the extension of the format; an `OSError` if no image can be written there."""
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, "this names a folder, not a file", str(path))
    target = Path(with_extension(path, format_name))
    if not target.parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "the folder does not exist", str(target.parent))
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "the folder is not writable", str(target.parent))
    # The path as given, too: if `trex` is a folder, `trex.png` beside it is hardly what the caller wants.
    for each in {path, target}:
        try:
            os.lstat(each)  # finds dangling links, and raises for names that are too long
        except FileNotFoundError:
            continue
        if each.is_dir():
            raise IsADirectoryError(errno.EISDIR, "this is a folder, not a file", str(each))
        if not overwrite and each == target:
            raise _exists(each)
    return target


@contextmanager
def whole_file(target: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Open a file that appears whole or not at all: a temporary file in the same folder, synced, then renamed. Blocks.

    The temporary file is named after this package, so that leftovers of killed processes can be told from other
    programs' files. The first one in a folder removes those. After an `OSError`, no part of the file is left.
    """
    part = target.parent / f".aimlapi-images-{secrets.token_hex(8)}.part"
    # Not with `tempfile`, whose files only their owner may read: an image follows the umask.
    try:
        with part.open("xb") as file:
            _remove_stale(target.parent)
            yield file
            file.flush()
            os.fsync(file.fileno())
        _put_in_place(part, target, overwrite=overwrite)
    finally:
        with suppress(OSError):  # what happened to the target is the result
            part.unlink()


def write_whole(target: Path, data: bytes, *, overwrite: bool = False) -> None:
    with whole_file(target, overwrite=overwrite) as file:
        file.write(data)


@lru_cache(maxsize=1_000)  # once for each folder: it may have many files
def _remove_stale(folder: Path) -> None:
    """Remove the temporary files in which nothing was written for a day.

    No write takes so long. If a process was suspended meanwhile, its write fails, and an order's error has the image.
    """
    for path in folder.glob(_PARTS):
        with suppress(OSError):
            # The folder's time is that of the file just created in it: this machine's clock may differ from a server's.
            if folder.stat().st_mtime - path.lstat().st_mtime > _STALE_SECONDS:
                path.unlink()


def _put_in_place(part: Path, target: Path, *, overwrite: bool = False) -> None:
    """Rename a complete, closed temporary file. The target's name never appears before its bytes.

    Without `overwrite`, the check and the rename are one step: a hard link on POSIX, a plain rename on Windows. File
    systems without hard links (FAT, some network shares) have no such step: there, a file that another process creates
    meanwhile is overwritten. An empty file that reserves the name would block the next run after a crash.
    """
    if overwrite:
        part.replace(target)
    elif os.name == "nt":  # pragma: no cover
        part.rename(target)
    else:
        try:
            target.hardlink_to(part)
        except FileExistsError:
            raise _exists(target) from None
        except OSError:
            if os.path.lexists(target):
                raise _exists(target) from None
            part.replace(target)


def free_number(path: Path, number: int) -> Path:
    """The path of the image with this number in a response: the second one of `fox` is `fox-2`, or the next free."""
    if number == 1:
        return path
    return path.with_name(free_stem(path.parent, path.name if format_of(path) is None else path.stem, number))


def free_stem(folder: Path, stem: str, start: int = 1) -> str:
    """`fox`, `fox-2` or `fox-3`, counted from `start`: the first that no file in the folder has, with any extension."""
    taken = {entry.stem.lower() for entry in folder.iterdir()}  # some file systems ignore case
    names = (stem if number == 1 else f"{stem}-{number}" for number in itertools.count(start))
    return next(name for name in names if name.lower() not in taken)


def _exists(path: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "the file already exists", str(path))
