"""Output about images, and rescue of images that could not be written."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from aimlapi_images.errors import DecodeError, ImageError, NotSavedError
from aimlapi_images.media.files import write_whole
from aimlapi_images.models import GeneratedImage


def rescue(error: ImageError) -> Iterator[str]:
    """Write images that were paid for but not saved to the temporary folder, named after their order.

    Yields:
        A message for each file.
    """
    images = [error.image, *error.images] if isinstance(error, NotSavedError) else error.images
    lost = [error.data] if isinstance(error, DecodeError) and error.data else []
    lost += [image.data for image in images if image.path is None]
    for number, data in enumerate(lost, 1):
        path = Path(tempfile.gettempdir()) / (f"{error.order}" if number == 1 else f"{error.order}-{number}")
        try:
            write_whole(path, data)
        except OSError as problem:
            yield f"it could not be rescued as {path}: {problem.strerror}"
        else:
            yield f"the data is rescued as {path}"


def summary(image: GeneratedImage, *, emulated: bool) -> str:
    """Describe an order in text, with one line for each image."""
    cost = "cost unknown" if image.usage.usd_spent is None else f"${image.usage.usd_spent:.4f}"
    cost = "emulated, free" if emulated else cost
    first = f"{image.path}  ({_shape(image)}, {image.seconds:.1f} s, {cost})"
    return "\n".join([first, *(f"{other.path}  ({_shape(other)})" for other in image.others)])


def _shape(image: GeneratedImage) -> str:
    return f"{image.width}x{image.height} {image.format}, {image.file_size:,} bytes"


def as_json(image: GeneratedImage, *, emulated: bool) -> str:
    """Describe an image in one line of JSON, with everything except its bytes."""
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
