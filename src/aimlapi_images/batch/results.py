"""The results of a batch as JSON lines, CSV or Parquet."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

import attrs

from aimlapi_images.about import needs_extra
from aimlapi_images.batch.cloud.bucket import located
from aimlapi_images.batch.models import JobResult
from aimlapi_images.batch.store.folder import STATE
from aimlapi_images.batch.store.state import State
from aimlapi_images.dispatch.budget import Budget
from aimlapi_images.errors import BatchError, InvalidRequestError
from aimlapi_images.media.files import whole_file
from aimlapi_images.orders.order import as_path

FORMATS: Final = ("jsonl", "csv", "parquet")
_ROWS_PER_GROUP: Final = 10_000
_TEXT: Final = (
    *("id", "status", "file", "prompt", "parameters", "carried", "format", "sha256"),
    *("request_id", "inference_id", "urls", "error_class", "error_message"),
)
_FLOAT: Final = ("seconds", "usd")


def read_results(out: str | os.PathLike[str]) -> Iterator[JobResult]:
    """Read the results of a batch, also while it runs.

    Raises:
        BatchError: There is no batch in this folder, or its state is damaged.
    """
    with closing(stored(located(out)[0])) as state:
        yield from map(JobResult.from_row, state.results())


def export_results(out: str | os.PathLike[str], to: str | os.PathLike[str], *, format: str = "jsonl") -> Path:  # noqa: A002
    """Write the results of a batch to a file, also while it runs. The file appears whole, or stays as it was. Blocks.

    Args:
        out: The folder of the batch.
        to: The file.
        format: `jsonl`, `csv` or `parquet`. The last one needs the extra `parquet`.

    Returns:
        The file's path.

    Raises:
        BatchError: There is no batch in this folder, or its state is damaged.
        InvalidRequestError: The format is not known, or the file cannot be written.
    """
    path = as_path(to, "to")
    with closing(stored(located(out)[0])) as state:
        try:
            write_results(state, path, format)
        except OSError as error:
            raise InvalidRequestError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def print_export(out: str | os.PathLike[str], format_: str, file: TextIO) -> None:
    """Write the results of a batch to an open text file, as `jsonl` or `csv`."""
    with closing(stored(located(out)[0])) as state:
        print_results(state, format_, file)


def budget_left(out: str | os.PathLike[str], usd: float) -> Budget:
    """What is left of a budget for all runs of a batch. Attempts of unknown cost count as much as the dearest one."""
    folder = located(out)[0]
    if not (folder / STATE).exists():
        return Budget(usd=usd)
    with closing(stored(folder)) as state:
        (spent, unpriced), dearest = state.spending(), state.dearest_attempt()
        return Budget(usd=max(0.0, usd - spent - unpriced * (dearest or 0.0)), order_usd=dearest)


def stored(out: Path) -> State:
    """Open the state of a folder to read it, also while a batch runs.

    Raises:
        BatchError: There is no batch in this folder, or its state is damaged.
    """
    if not (out / STATE).exists():
        raise BatchError(f"{out} is not the folder of a batch: there is no {STATE} in it")
    return State(out / STATE, readonly=True)


def write_results(state: State, path: Path, format_: str) -> None:
    """Write all results to a temporary file, and put it in place.

    Raises:
        OSError: It cannot be written.
        InvalidRequestError: The format is not known.
    """
    if format_ not in _WRITERS:
        raise InvalidRequestError(f"format must be {' or '.join(FORMATS)}, not {format_!r}")
    with whole_file(path.absolute(), overwrite=True) as file:
        _WRITERS[format_](state, file)


def print_results(state: State, format_: str, file: TextIO) -> None:
    """Write all results to an open text file."""
    rows = (attrs.asdict(JobResult.from_row(row)) for row in state.results())
    if format_ == "jsonl":
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return
    names = [field.name for field in attrs.fields(JobResult)]
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(_flat, rows))


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with nested values as JSON text."""
    return {
        name: json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | tuple) else value
        for name, value in row.items()
    }


def _write_text(format_: str) -> Callable[[State, BinaryIO], None]:
    def write(state: State, file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        print_results(state, format_, text)
        text.detach()

    return write


def _write_parquet(state: State, file: BinaryIO) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise InvalidRequestError(needs_extra("Parquet", "parquet")) from error
    names = [field.name for field in attrs.fields(JobResult)]
    types = {name: pyarrow.string() for name in _TEXT} | {name: pyarrow.float64() for name in _FLOAT}
    schema = pyarrow.schema([(name, types.get(name, pyarrow.int64())) for name in names])
    with parquet.ParquetWriter(file, schema) as writer:
        rows: list[dict[str, Any]] = []
        for row in state.results():
            rows.append(_flat(attrs.asdict(JobResult.from_row(row))))
            if len(rows) == _ROWS_PER_GROUP:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
                rows.clear()
        writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))


_WRITERS: Final = {"jsonl": _write_text("jsonl"), "csv": _write_text("csv"), "parquet": _write_parquet}
