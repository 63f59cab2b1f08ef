"""Job files, opened and read line by line or row by row."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, Final, TextIO, cast

from aimlapi_images.about import needs_extra
from aimlapi_images.batch.cloud.bucket import is_url, open_file
from aimlapi_images.errors import InvalidRequestError

_ROWS: Final = 1000  # of a Parquet file, read at a time
_LONGEST_LINE: Final = 2**20  # characters
TOO_LONG: Final = f"longer than {_LONGEST_LINE:,} characters"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


def opened(source: str | os.PathLike[str]) -> AbstractContextManager[IO[bytes]]:
    """A file, standard input (`-`), or a file in object storage."""
    if is_url(source):
        return open_file(str(source))
    return nullcontext(sys.stdin.buffer) if os.fspath(source) == "-" else Path(source).open("rb")


@contextmanager
def as_text(raw: IO[bytes], source: str | os.PathLike[str]) -> Iterator[TextIO]:
    """The file as text. Bytes that are not UTF-8 become lone surrogates, which are refused later."""
    file = cast(io.BufferedReader, raw)
    if file.peek(2)[:2] in _UTF16:
        raise InvalidRequestError(f"{os.fspath(source)} is UTF-16: save it as UTF-8")
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield text
    finally:
        text.detach()  # or it would close standard input


def lines(file: TextIO) -> Iterator[tuple[int, str | None]]:
    """Numbered lines with their ends; `None` for one that is too long. No line ends but CR and LF count."""
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        whole = len(line) < _LONGEST_LINE or line.endswith(("\n", "\r"))
        while not whole:
            rest = file.readline(_LONGEST_LINE)
            whole = len(rest) < _LONGEST_LINE or rest.endswith(("\n", "\r"))
            line = ""
        yield number, line or None


def parquet_rows(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, with typed values."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError as error:
        raise InvalidRequestError(needs_extra("Parquet", "parquet")) from error
    try:
        for batch in ParquetFile(file).iter_batches(_ROWS):
            yield from batch.to_pylist()
    except ArrowException as error:
        raise InvalidRequestError(f"not a Parquet file: {error}") from error
