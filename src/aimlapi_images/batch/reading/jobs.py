"""Jobs, read one by one from a file, standard input or an iterable."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, TextIO, TypeAlias

import attrs

from aimlapi_images.batch.cloud.bucket import is_url
from aimlapi_images.batch.reading.opening import TOO_LONG, as_text, lines, opened, parquet_rows
from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.media.json_values import shown
from aimlapi_images.orders import schema

_FORMATS: Final = {".txt": "txt", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
FORMATS: Final = ("txt", "csv", "jsonl", "parquet")
_ID_FIELDS: Final = ("id", "custom_id")
_LONGEST_ID: Final = 1000  # characters
_FILES: Final = ("image", "mask")
_IMAGES: Final = ("/images/generations", "/images/edits")


@attrs.frozen
class Job:
    """One image to make.

    Attributes:
        id: Its id, from the file or from its content: the same job has the same id tomorrow.
        fields: The prompt and the other fields of the request; `image` and `mask` are paths.
        carried: Further columns of the file, which are not sent but repeated in the results.
        line: Its line in the file, or its place in the iterable, from 1.
        problem: Why it cannot be a job, if it cannot.
    """

    id: str
    fields: Mapping[str, Any] = attrs.field(factory=dict)
    carried: Mapping[str, Any] = attrs.field(factory=dict)
    line: int | None = None
    problem: str | None = None


Source: TypeAlias = str | os.PathLike[str] | Iterable[Job | Mapping[str, Any] | str]


def read_jobs(source: Source, *, format: str | None = None) -> Iterator[Job]:  # noqa: A002
    """Read jobs one by one, so that a file of a million lines takes no memory.

    - `.txt`: one prompt per line.
    - `.csv`: columns named after fields of the request, and `id`, `image` and `mask`; others are carried.
    - `.parquet`: columns as in `.csv`, with the extra `parquet`.
    - `.jsonl`: one object per line with the same names, and `metadata`, which is carried; or the form of OpenAI's
      Batch API (`custom_id`, `method`, `url`, `body`).

    Files are UTF-8, with or without BOM. Paths of images are relative to the file. Lines that cannot be read become
    jobs with a `problem`.

    Args:
        source: A file, `-` for standard input, a URL that fsspec knows, or an iterable of mappings or prompts.
        format: `txt`, `csv`, `jsonl` or `parquet`; from the file's extension if `None`.

    Raises:
        InvalidRequestError: The file cannot be read, or its format is not known.
    """
    if not isinstance(source, str | os.PathLike):
        yield from _from_objects(source)
        return
    kind = format or _FORMATS.get(Path(source).suffix.lower())
    if kind not in FORMATS:
        name = os.fspath(source)
        raise InvalidRequestError(f"{name} is no .txt, .csv, .jsonl or .parquet file: say which format it has")
    folder = Path() if os.fspath(source) == "-" or is_url(source) else Path(source).parent
    try:
        with opened(source) as raw:
            if kind == "parquet":
                yield from _read_parquet(raw, folder.absolute())
            else:
                with as_text(raw, source) as file:
                    yield from _READERS[kind](file, folder.absolute())
    except OSError as error:
        raise InvalidRequestError(f"{os.fspath(source)} cannot be read: {error.strerror or error}") from error


def _read_txt(file: TextIO, folder: Path) -> Iterator[Job]:
    for number, line in lines(file):
        if line is None:
            yield _problem(number, TOO_LONG)
        elif prompt := line.strip():
            yield _job({"prompt": prompt}, line=number)


def _read_jsonl(file: TextIO, folder: Path) -> Iterator[Job]:
    for number, line in lines(file):
        if line is None:
            yield _problem(number, TOO_LONG)
        elif text := line.strip():
            try:
                yield from_record(json.loads(text), line=number, folder=folder)
            except (ValueError, RecursionError) as error:
                yield _problem(number, f"not JSON: {error}")


def _read_csv(file: TextIO, folder: Path) -> Iterator[Job]:
    numbered = lines(file)
    first = next(numbered, (1, ""))[1] or ""
    delimiter = max(",;\t", key=first.count)  # spreadsheets write semicolons in some countries
    header = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
    if "prompt" not in header:
        raise InvalidRequestError(
            f"the first line must name the columns, prompt among them, not {shown(first.strip())}"
        )
    rows = csv.reader((line or "" for _, line in numbered), delimiter=delimiter, strict=True)
    while True:
        before = rows.line_num + 2  # a row may have several lines
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield _problem(before, f"not CSV: {error}")
            return
        if len(row) > len(header):
            yield _problem(before, f"{len(row)} columns, but the first line names {len(header)}")
        elif any(row):
            yield _from_row(dict(zip(header, row, strict=False)), before, folder)


def _from_row(row: Mapping[str, str], line: int, folder: Path) -> Job:
    """A job from a row of a CSV file: cells that are empty are not sent, and unknown columns are carried."""
    kind = schema.request("edits") if row.get("image") else schema.request("generations", row.get("model"))
    record: dict[str, Any] = {}
    carried: dict[str, Any] = {}
    for name, text in row.items():
        if name in kind["properties"]:
            record[name] = _typed(text, kind["properties"][name])
        elif name in _ID_FIELDS or name in _FILES:
            record[name] = _json_or_text(text) if name in _FILES and text.startswith("[") else text or None
        else:
            carried[name] = text
    return from_record({**record, "metadata": carried}, line=line, folder=folder)


def _typed(text: str, field: Mapping[str, Any]) -> Any:
    """The text of a cell as the type of its field. Text that does not fit stays, and is refused later."""
    if not text or schema.field_type(field) == "string":
        return text or None
    return _json_or_text(text.strip().lower() if schema.field_type(field) == "boolean" else text)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _read_parquet(file: IO[bytes], folder: Path) -> Iterator[Job]:
    for number, row in enumerate(parquet_rows(file), 1):
        yield _from_values(row, number, folder)


def _from_values(row: Mapping[str, Any], line: int, folder: Path) -> Job:
    """A job from a row with typed values. Unknown columns are carried."""
    kind = schema.request("edits") if row.get("image") else schema.request("generations", row.get("model"))
    fields = kind["properties"]
    known = {name: value for name, value in row.items() if name in fields or name in (*_ID_FIELDS, *_FILES)}
    carried = {name: value for name, value in row.items() if name not in known and name != "metadata"}
    return from_record({**known, "metadata": (row.get("metadata") or {}) | carried}, line=line, folder=folder)


_READERS: Final = {"txt": _read_txt, "csv": _read_csv, "jsonl": _read_jsonl}


def _from_objects(source: Iterable[Any]) -> Iterator[Job]:
    for number, each in enumerate(source, 1):
        if isinstance(each, Job):
            known: dict[str, Any] = {"given": each.id, "carried": each.carried, "line": each.line}
            yield each if each.problem else _job(dict(each.fields), **known)
        else:
            record = {"prompt": each} if isinstance(each, str) else each
            yield from_record(record, line=number, folder=Path().absolute())


def from_record(record: object, *, line: int | None, folder: Path) -> Job:
    """A job from a mapping of plain parameters, or of OpenAI's Batch API. `folder` is where its paths begin."""
    if not isinstance(record, Mapping):
        return _problem(line, f"not an object with a prompt: {shown(record)}")
    fields = {str(name): value for name, value in record.items() if value is not None}
    given = next((fields.pop(name) for name in _ID_FIELDS if name in fields), None)
    carried = fields.pop("metadata", {})
    if not isinstance(carried, Mapping):
        return _problem(line, f"metadata must be an object, got {shown(carried)}")
    if isinstance(fields.get("body"), Mapping):
        request = f"{fields.get('method', 'POST')} {fields.get('url', _IMAGES[0])}"
        if not request.upper().startswith("POST ") or not request.rstrip("/").endswith(_IMAGES):
            return _problem(line, f"not a request for an image: {shown(request)}")
        fields = {name: value for name, value in fields["body"].items() if value is not None}
        ours = f"openai/{str(fields.get('model')).replace('.', '-')}"  # of what OpenAI calls `gpt-image-1.5`
        fields |= {"model": ours} if ours in schema.models("generations") else {}
    return _job(fields, given=given, carried=dict(carried), line=line, folder=folder)


def _job(
    fields: dict[str, Any],
    given: object = None,
    carried: Mapping[str, Any] | None = None,
    line: int | None = None,
    folder: Path = Path(),
) -> Job:
    try:
        id_ = ("" if given is None else str(given).strip()) or _content_id(fields)
        id_.encode()
        if carried:
            json.dumps(carried, allow_nan=False, ensure_ascii=False).encode()
        for name in _FILES:
            if name in fields:
                fields[name] = _absolute(fields[name], name, folder)
    except UnicodeEncodeError:
        return _problem(line, "not UTF-8")
    except (TypeError, ValueError, RecursionError) as error:
        return _problem(line, str(error))
    if len(id_) > _LONGEST_ID:
        return _problem(line, f"its id has {len(id_):,} characters, and {_LONGEST_ID:,} are allowed")
    return Job(id_, fields, carried or {}, line)


def _content_id(fields: Mapping[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True, ensure_ascii=False, allow_nan=False)
    words = re.sub(r"[^a-z0-9]+", "-", str(fields.get("prompt", ""))[:200].lower()).strip("-")[:40].rstrip("-")
    return f"{words or 'job'}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _absolute(value: object, name: str, folder: Path) -> Any:
    """The paths of images as absolute text: a later run may start in another folder."""
    if isinstance(value, list | tuple) and name == "image":
        return [_absolute(each, name, folder) for each in value]
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ValueError(f"{name} must be the path of a file, got {shown(value)}")
    return str(folder / os.fspath(value))


def _problem(line: int | None, problem: str) -> Job:
    return Job("", line=line, problem=problem)
