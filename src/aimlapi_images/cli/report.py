"""What the command says of an image, and what it does with one that has nowhere to go."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from aimlapi_images.errors import DecodeError, ImageError, NotSavedError
from aimlapi_images.media.files import write_whole
from aimlapi_images.models import GeneratedImage


def rescue(error: ImageError) -> Iterator[str]:
    """What is paid for and cannot go where it should goes into the temporary folder, under its order's id.

    Yields:
        For each of these files, where it is, in words.
    """
    images = [error.image, *error.images] if isinstance(error, NotSavedError) else error.images
    lost = [error.data] if isinstance(error, DecodeError) and error.data else []
    lost += [image.data for image in images if image.path is None]
    for number, data in enumerate(lost, 1):
        path = Path(tempfile.gettempdir()) / (f"{error.order}" if number == 1 else f"{error.order}-{number}")
        try:
            write_whole(path, data)
        except OSError as problem:
            yield f"nor could it be rescued as {path}: {problem.strerror}"
        else:
            yield f"what came is rescued as {path}"


def summary(image: GeneratedImage, *, emulated: bool) -> str:
    """One line for a person, and one more for each further image."""
    cost = "cost unknown" if image.usage.usd_spent is None else f"${image.usage.usd_spent:.4f}"
    cost = "emulated, free" if emulated else cost
    first = f"{image.path}  ({_shape(image)}, {image.seconds:.1f} s, {cost})"
    return "\n".join([first, *(f"{other.path}  ({_shape(other)})" for other in image.others)])


def _shape(image: GeneratedImage) -> str:
    return f"{image.width}x{image.height} {image.format}, {image.file_size:,} bytes"


def as_json(image: GeneratedImage, *, emulated: bool) -> str:
    """One line for a program: all that is known of the image but its bytes."""
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
    return json.dumps(known, ensure_ascii=False)


def _file(image: GeneratedImage) -> dict[str, object]:
    return {
        "path": str(image.path),
        "format": image.format,
        "width": image.width,
        "height": image.height,
        "bytes": image.file_size,
        "sha256": image.sha256,
    }
