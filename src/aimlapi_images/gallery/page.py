"""The gallery of a batch: one self-contained HTML page beside the images."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import attrs

from aimlapi_images.batch.models import JobResult
from aimlapi_images.batch.results import stored
from aimlapi_images.batch.store.folder import StoredImage, is_unchanged, utc_now
from aimlapi_images.batch.store.state import State
from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.gallery.thumbnails import available, make_thumbnail, remove_others
from aimlapi_images.media.files import whole_file
from aimlapi_images.orders.order import absolute, as_path

PAGE: Final = "index.html"
_MARK: Final = '<meta name="generator" content="aimlapi-images gallery">'
_HEAD_BYTES: Final = 2_000  # they have the mark
_AT_A_TIME: Final = 256  # cards; their thumbnails are made in parallel
_THREADS: Final = min(8, os.cpu_count() or 1)
# Nothing but this page's own style and script, and images beside it. `file:` is for pages that are opened from a disk,
# where not every browser counts files beside the page as its own. The page never parses HTML.
_POLICY: Final = (
    "default-src 'none'; img-src 'self' file:; style-src '{style}'; script-src '{script}'; "
    "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
)
# A card has the fields of `results.jsonl` but these.
_NOT_SHOWN: Final = ("urls", "file", "error_class", "error_message")
# What only the first image of a job says.
_OF_THE_JOB: Final = ("credits", "usd", "attempts", "seconds")

Progress = Callable[[int, int], object]


def write_gallery(folder: str | os.PathLike[str], *, thumbnails: bool = True, progress: Progress | None = None) -> Path:
    """Write the gallery of a batch, `index.html`, also while the batch runs. The page appears whole. Blocks.

    Thumbnails are made in the subfolder `.thumbnails` if Pillow is installed, and not again for images that have one.
    Without them, the page shows the images themselves.

    Args:
        folder: The folder of the batch.
        thumbnails: Whether to make thumbnails.
        progress: Called now and then with the number of jobs that are written, and the number of all.

    Returns:
        The path of the page.

    Raises:
        BatchError: There is no batch in this folder, or its state is damaged.
        InvalidRequestError: The page cannot be written, or there is another `index.html`.
    """
    out = absolute(as_path(folder, "folder"))
    page = out / PAGE
    with closing(stored(out)) as state:
        try:
            _check_ours(page)
            with whole_file(page, overwrite=True) as file:
                _write(file.write, state, out, thumbnails and available(), progress)
        except OSError as error:
            raise InvalidRequestError(f"{page} cannot be written: {error.strerror or error}") from error
    return page


def _check_ours(page: Path) -> None:
    if not page.exists():
        return
    with page.open("rb") as file:
        if _MARK.encode() not in file.read(_HEAD_BYTES):
            raise InvalidRequestError(f"{page} is not a gallery of this package: rename it")


def _write(
    write: Callable[[bytes], object],
    state: State,
    out: Path,
    thumbnails: bool,
    progress: Progress | None,
) -> None:
    """Write the page piece by piece: a batch may have very many jobs."""
    head, tail = _frame()
    usd, unpriced = state.spending()
    about = {"name": out.name, "written": utc_now(), "usd": usd, "unpriced": unpriced}
    write(head.encode() + b'{"about": ' + _json(about) + b', "cards": [')
    used: set[str] = set()
    written, total, rows = 0, state.number_of_jobs(), state.results()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="aimlapi-images gallery") as pool:
        while some := list(islice(rows, _AT_A_TIME)):
            jobs = [(JobResult.from_row(row), state.images(row["job"])) for row in some]
            pictures = [each for job in jobs for each in _pictures(*job)]
            cards = list(pool.map(partial(_card, out, thumbnails), pictures))
            write((b",\n" if written else b"\n") + b",\n".join(map(_json, cards)))
            used.update(card.get("thumbnail", "") for card in cards)
            written += len(some)
            if progress is not None:
                progress(written, total)
    write(b"\n]}" + tail.encode())
    if thumbnails:
        remove_others(out, used)


@attrs.frozen
class _Picture:
    """One card: an image of a job, or a job without one."""

    result: JobResult
    image: StoredImage | None


def _pictures(result: JobResult, images: list[StoredImage]) -> Iterator[_Picture]:
    if not images:
        yield _Picture(result, None)
    yield from (_Picture(result, image) for image in images)


def _card(out: Path, thumbnails: bool, picture: _Picture) -> dict[str, Any]:
    """What the page knows about a card. Unknown values are left out."""
    values: dict[str, Any] = attrs.asdict(picture.result, filter=lambda field, _: field.name not in _NOT_SHOWN)
    image = picture.image
    if picture.result.error_class:
        values["error"] = [picture.result.error_class, picture.result.error_message or ""]
    if image is not None:
        values |= {name: getattr(image, name) for name in ("format", "width", "height", "bytes", "sha256")}
        values |= _file(out, image, thumbnails)
        if image.number > 1:  # the job is counted with its first image
            values |= {"number": image.number} | dict.fromkeys(_OF_THE_JOB)
    return {name: value for name, value in values.items() if value not in (None, {}, "")}


def _file(out: Path, image: StoredImage, thumbnails: bool) -> dict[str, Any]:
    """Where the file is, and whether it is still what was saved."""
    try:
        unchanged = is_unchanged(out, image, verify=False)
    except OSError:
        return {"file_state": "missing", "path": image.path}
    known: dict[str, Any] = {
        "path": image.path,
        "source": f"./{quote(image.path)}",  # never a URL with a scheme or a host
        "saved": image.modified // 1_000_000,  # milliseconds since 1970
    }
    if not unchanged:
        return {**known, "file_state": "changed"}
    return {**known, "thumbnail": make_thumbnail(out, image.path, image.sha256) if thumbnails else None}


def _json(value: object) -> bytes:
    """JSON inside a script element: no text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").encode("utf-8", "backslashreplace")


def _frame() -> tuple[str, str]:
    """The page before and after its data."""
    page, style, script = (
        (files("aimlapi_images.gallery") / name).read_text(encoding="utf-8")
        for name in ("gallery.html", "gallery.css", "gallery.js")
    )
    policy = _POLICY.format(style=_digest(style), script=_digest(script))
    for name, text in (("policy", policy), ("mark", _MARK), ("style", style), ("script", script)):
        page = page.replace(f"<!--{name}-->", text)
    head, _, tail = page.partition("<!--data-->")
    return head, tail


def _digest(text: str) -> str:
    """The hash that allows an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
