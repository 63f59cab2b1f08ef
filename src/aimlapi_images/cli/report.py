"""Output about images, and where images go: the given file, a free name, standard output, or the temporary folder."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import click

from aimlapi_images.errors import DecodeError, ImageError, InvalidRequestError, NotSavedError
from aimlapi_images.media.files import check_target, free_name, write_whole
from aimlapi_images.media.formats import signature, with_extension
from aimlapi_images.models import GeneratedImage


def check_free_name(words: str) -> None:
    """Check that an image can be saved in the working folder.

    Raises:
        InvalidRequestError: The folder is gone or not writable.
    """
    try:
        check_target(free_name(Path.cwd(), words), "png")
    except OSError as error:
        raise InvalidRequestError(f"the image cannot be written to this folder: {error.strerror}") from error


async def save_under_free_name(image: GeneratedImage, words: str) -> GeneratedImage:
    """Save an image and the others of its order in the working folder, named after some words.

    Several commands may choose the same name at the same moment: whoever is late takes the next one.

    Raises:
        NotSavedError: The disk is full, or the folder is gone or not writable.
    """
    saved = []
    for each in (image, *image.others):
        while True:
            try:
                saved.append(attrs.evolve(each, path=await each.save(free_name(Path(), words)), others=()))
                break
            except FileExistsError:
                continue
            except OSError as error:
                rest = (image, *image.others)[len(saved) :]
                message = f"the image could not be written: {error.strerror}: {error.filename}"
                raise NotSavedError(message, image=rest[0], images=rest[1:], order=image.order) from error
    return attrs.evolve(saved[0], others=tuple(saved[1:]))


def write_to_stdout(image: GeneratedImage) -> None:
    """Write the image's bytes to standard output.

    Raises:
        NotSavedError: Nobody reads standard output, or there are further images, which it cannot hold.
    """
    try:
        sys.stdout.buffer.write(image.data)
        sys.stdout.buffer.flush()
    except OSError as error:
        message = f"the image could not be written to standard output: {error.strerror}"
        raise NotSavedError(message, image=image, images=image.others, order=image.order) from error
    if image.others:
        message = "standard output holds one image only"
        raise NotSavedError(message, image=image.others[0], images=image.others[1:], order=image.order)


def rescue(error: ImageError) -> Iterator[str]:
    """Write images that were paid for but not saved to the temporary folder, named after their order.

    Yields:
        A message for each file.
    """
    images = [error.image, *error.images] if isinstance(error, NotSavedError) else error.images
    lost = [error.data] if isinstance(error, DecodeError) and error.data else []
    lost += [image.data for image in images if image.path is None]
    for number, data in enumerate(lost, 1):
        name = f"{error.order}" if number == 1 else f"{error.order}-{number}"
        path = Path(with_extension(Path(tempfile.gettempdir()) / name, signature(data) or "bin"))
        try:
            write_whole(path, data)
        except OSError as problem:
            yield f"it could not be rescued as {path}: {problem.strerror}"
        else:
            yield f"the data is rescued as {path}"


def show(image: GeneratedImage, *, emulated: bool, as_json: bool, err: bool) -> None:
    """Print the result of an order; to standard error if `err`."""
    click.echo((_as_json if as_json else _summary)(image, emulated=emulated), err=err)


def _summary(image: GeneratedImage, *, emulated: bool) -> str:
    """Describe an order in text, with one line for each image."""
    cost = "cost unknown" if image.usage.usd_spent is None else f"${image.usage.usd_spent:.4f}"
    cost = "emulated, free" if emulated else cost
    first = f"{image.path or '-'}  ({_shape(image)}, {image.seconds:.1f} s, {cost})"
    return "\n".join([first, *(f"{other.path}  ({_shape(other)})" for other in image.others)])


def _shape(image: GeneratedImage) -> str:
    return f"{image.width}x{image.height} {image.format}, {image.file_size:,} bytes"


def _as_json(image: GeneratedImage, *, emulated: bool) -> str:
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
