"""Images side by side in a notebook: Jupyter, VS Code, Colab."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import attrs

from aimlapi_images.batch.models import JobResult
from aimlapi_images.batch.results import read_results
from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.gallery.thumbnails import available, shrink
from aimlapi_images.models import GeneratedImage
from aimlapi_images.orders.order import absolute, as_path

_CAPTION_LENGTH: Final = 120
# Colors with some transparency fit light and dark notebooks. Styles are in the elements: VS Code shares one document
# between all outputs.
_ROW: Final = "display:flex;flex-wrap:wrap;gap:10px;align-items:flex-start"
_CELL: Final = "margin:0;width:{width}px;font:13px/1.4 system-ui,sans-serif;overflow-wrap:anywhere"
_IMAGE: Final = "display:block;max-width:100%;border-radius:6px"
_PROBLEM: Final = "padding:8px;border:1px solid #c0392b99;border-radius:6px;background:#c0392b22"


@attrs.frozen
class Grid:
    """Images that a notebook displays side by side.

    Attributes:
        html: As HTML, with the images in it.
        images: Number of its images and failures.
    """

    html: str = attrs.field(repr=False)
    images: int

    def _repr_html_(self) -> str:
        """Display it in a notebook."""
        return self.html


def grid(
    images: str | os.PathLike[str] | Iterable[GeneratedImage | JobResult | BaseException],
    *,
    out: str | os.PathLike[str] | None = None,
    width: int = 200,
    limit: int = 60,
) -> Grid:
    """Show images side by side, as the last line of a notebook's cell, or with `display`. Blocks.

    The notebook keeps small copies of the images, made by Pillow; without Pillow, the images as they are.

    Args:
        images: The folder of a batch; or images, results of a batch, and errors, such as from
            `asyncio.gather(..., return_exceptions=True)`.
        out: The folder of the batch, if `images` are its results.
        width: Of an image, in CSS pixels.
        limit: How many to show at most. For thousands there is `write_gallery`.

    Raises:
        BatchError: There is no batch in the folder `images`.
        InvalidRequestError: `out` is missing, or something is no image.
    """
    if isinstance(images, str | os.PathLike):
        out, images = images, read_results(images)
    folder = None if out is None else absolute(as_path(out, "out"))
    every = chain.from_iterable(_with_others(image) for image in images)
    cells = [_cell(image, folder, width) for image in islice(every, limit)]
    more = sum(1 for _ in every)
    note = f"<p>and {more:,} more</p>" if more else ""
    return Grid(f'<div style="{_ROW}">{"".join(cells)}</div>{note}', len(cells))


def _with_others(image: Any) -> tuple[Any, ...]:
    return (image, *image.others) if isinstance(image, GeneratedImage) else (image,)


def _cell(image: object, folder: Path | None, width: int) -> str:
    match image:
        case GeneratedImage():
            shown, caption = _image(image, width), image.prompt
        case JobResult(file=None):
            shown, caption = _problem(image.status, image.error_message), image.prompt or image.id
        case JobResult():
            if folder is None:
                raise InvalidRequestError("say with out= in which folder the results of the batch are")
            shown, caption = _file(folder, image, width), image.prompt or image.id
        case BaseException():
            shown, caption = _problem(type(image).__name__, str(image)), ""
        case _:
            raise InvalidRequestError(f"a grid shows images, results of a batch and errors, not {type(image).__name__}")
    words = caption if len(caption) <= _CAPTION_LENGTH else f"{caption[: _CAPTION_LENGTH - 3]}..."
    style = _CELL.format(width=width)
    return f'<figure style="{style}">{shown}<figcaption dir="auto">{html.escape(words)}</figcaption></figure>'


def _file(folder: Path, result: JobResult, width: int) -> str:
    try:
        data = (folder / str(result.file)).read_bytes()
    except OSError as error:
        return _problem("file missing", f"{result.file}: {error.strerror}")
    return _picture(data, f"image/{result.format}", str(result.prompt), width)


def _image(image: GeneratedImage, width: int) -> str:
    try:
        return _picture(image.data, image.media_type, image.prompt, width)
    except OSError as error:  # it was written to a file that is gone
        return _problem("file missing", f"{image.path}: {error.strerror}")


def _picture(data: bytes, media_type: str, prompt: str, width: int) -> str:
    if available():
        with suppress(Exception):  # whatever Pillow makes of it: the browser may display it
            data, media_type = shrink(io.BytesIO(data), 2 * width), "image/webp"  # sharp on any display
    source = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
    return f'<img src="{source}" alt="{html.escape(prompt[:_CAPTION_LENGTH])}" style="{_IMAGE}">'


def _problem(kind: str, message: str | None) -> str:
    return f'<div style="{_PROBLEM}"><b>{html.escape(kind)}</b><br>{html.escape((message or "")[:300])}</div>'
