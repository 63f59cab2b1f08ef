"""Output about images, and where images go: the given file, a free name, standard output, or the temporary folder."""

from __future__ import annotations

import json
import os
import re
import select
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import click

from aimlapi_images.errors import DecodeError, DownloadError, ImageError, InvalidRequestError, NotSavedError
from aimlapi_images.events import AttemptStarted, Delivered, Event, Generated, Retrying
from aimlapi_images.media.files import check_target, free_stem, write_whole
from aimlapi_images.media.formats import signature, with_extension
from aimlapi_images.models import GeneratedImage

_NAMES_TRIED = 1_000
_LONGEST_STEM = 60
# Windows devices, whatever the extension.
_RESERVED_NAMES = {"con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in range(10))}


@attrs.define
class Watch:
    """An observer that knows what became of an order when a signal interrupts it."""

    order: str
    may_be_billed: bool = False
    paid: bool = False
    urls: tuple[str, ...] = ()
    images: list[GeneratedImage] = attrs.field(factory=list)

    async def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case AttemptStarted():
                self.may_be_billed = True
            case Retrying(error=error):
                self.may_be_billed = error.may_be_billed
            case Generated(urls=urls):
                self.paid, self.urls = True, urls
            case Delivered(image=image):
                self.images = [image, *image.others]

    def __str__(self) -> str:
        if not self.may_be_billed:
            return "no order was in flight, so nothing is billed"
        if not self.paid:
            return f"order {self.order} was in flight and may be billed: `aimlapi-images logs` lists it some time later"
        written = ", ".join(str(image.path) for image in self.images if image.path is not None)
        where = f", and written to {written}" if written else f", and is at {', '.join(self.urls)}" if self.urls else ""
        return f"the image of order {self.order} is paid for{where}"


def free_name(folder: Path, words: str) -> Path:
    """A path named after some words, such as a prompt, that no file in the folder has with any extension."""
    encoding = sys.getfilesystemencoding()  # which is ASCII in the locale C
    words = words.lower().encode(encoding, "ignore").decode(encoding)
    stem = re.sub(r"[^\w]+", "-", words).strip("-_")[:_LONGEST_STEM].rstrip("-_") or "image"
    return folder / free_stem(folder, f"{stem}-image" if stem in _RESERVED_NAMES else stem)


def check_free_name(words: str) -> None:
    """Check that an image can be saved in the working folder.

    Raises:
        InvalidRequestError: The folder is gone or not writable.
    """
    try:
        check_target(free_name(Path.cwd(), words), "png")
    except OSError as error:
        raise InvalidRequestError(f"the image cannot be written to this folder: {error.strerror}") from error


def save_under_free_names(images: list[GeneratedImage], words: str) -> None:
    """Save images in the working folder, named after some words, and replace each in the list when it is saved.

    Several commands may choose the same name at the same moment: whoever is late takes the next one.

    Raises:
        NotSavedError: The disk is full, or the folder is gone or not writable.
    """
    for number, image in enumerate(images):
        try:
            images[number] = attrs.evolve(image, path=_save_under_free_name(image, words))
        except OSError as error:
            message = f"the image could not be written: {error.strerror}: {error.filename}"
            raise _not_saved(message, images[number:]) from error


def _save_under_free_name(image: GeneratedImage, words: str) -> Path:
    for left in reversed(range(_NAMES_TRIED)):
        path = Path(with_extension(free_name(Path(), words), image.format))
        try:
            write_whole(path, image.data)
            break
        except FileExistsError:
            if not left:
                raise
    return path


def write_to_stdout(images: list[GeneratedImage]) -> None:
    """Write the first image's bytes to standard output.

    Raises:
        NotSavedError: Nobody reads standard output, or there are further images, which it cannot hold.
    """
    descriptor, left = sys.stdout.fileno(), memoryview(images[0].data)
    try:
        while left:  # not with Python's stream, which may drop what a slow reader does not take at once
            try:
                left = left[os.write(descriptor, left) :]
            except BlockingIOError:
                select.select([], [descriptor], [])
    except OSError as error:
        raise _not_saved(f"the image could not be written to standard output: {error.strerror}", images) from error
    if images[1:]:
        raise _not_saved("standard output holds one image only", images[1:])


def _not_saved(message: str, images: list[GeneratedImage]) -> NotSavedError:
    return NotSavedError(message, image=images[0], images=tuple(images[1:]), order=images[0].order)


def lost_in(error: ImageError) -> Iterator[bytes]:
    """What an error has of images that were paid for but not saved."""
    if isinstance(error, DecodeError | DownloadError) and error.data:
        yield error.data
    images = [error.image, *error.images] if isinstance(error, NotSavedError) else error.images
    yield from (image.data for image in images if image.path is None)


def rescue(order: str | None, lost: Iterator[bytes]) -> Iterator[str]:
    """Write images that were paid for but not saved to the temporary folder, named after their order.

    Yields:
        A message for each file.
    """
    for number, data in enumerate(lost, 1):
        name = f"{order}" if number == 1 else f"{order}-{number}"
        problem = ""
        for folder in (tempfile.gettempdir, Path.home):
            try:
                path = Path(with_extension(Path(folder()) / name, signature(data) or "bin"))
                write_whole(path, data)
            except (OSError, RuntimeError) as error:  # also if there is no such folder
                problem = str(error)
            else:
                yield f"the data is rescued as {path}"
                break
        else:
            yield f"it could not be rescued: {problem}"


def show(image: GeneratedImage, emulated: bool, *, as_json: bool, err: bool) -> None:
    """Print the result of an order; to standard error if `err`."""
    click.echo((_as_json if as_json else summary)(image, emulated), err=err)


def summary(image: GeneratedImage, emulated: bool) -> str:
    """Describe an order in text, with one line for each image."""
    cost = "cost unknown" if image.usage.usd_spent is None else f"${image.usage.usd_spent:.4f}"
    cost = "emulated, free" if emulated else cost
    first = f"{image.path or '-'}  ({_shape(image)}, {image.seconds:.1f} s, {cost})"
    return "\n".join([first, *(f"{other.path}  ({_shape(other)})" for other in image.others)])


def _shape(image: GeneratedImage) -> str:
    return f"{image.width}x{image.height} {image.format}, {image.file_size:,} bytes"


def _as_json(image: GeneratedImage, emulated: bool) -> str:
    """Describe an image in one line of ASCII JSON, valid in any locale, with everything except its bytes."""
    known = {
        **_file(image),
        "others": [_file(other) for other in image.others],
        "prompt": image.prompt,
        "revised_prompt": image.revised_prompt,
        "parameters": dict(image.parameters),
        "url": image.url,
        "credits_used": image.usage.credits_used,
        "usd_spent": image.usage.usd_spent,
        "emulated": emulated,
        "order": image.order,
        "inference_id": image.inference_id,
        "attempts": image.attempts,
        "seconds": round(image.seconds, 3),
    }
    return json.dumps(known)


def _file(image: GeneratedImage) -> dict[str, object]:
    return {
        "path": None if image.path is None else str(image.path),
        "format": image.format,
        "width": image.width,
        "height": image.height,
        "bytes": image.file_size,
        "sha256": image.sha256,
    }
