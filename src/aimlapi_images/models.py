"""`GeneratedImage`: the bytes as the API sent them, and what is known of them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from aimlapi_images.media.files import check_target, write_whole
from aimlapi_images.spending import Usage

if TYPE_CHECKING:
    from PIL.Image import Image


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


@attrs.frozen
class GeneratedImage:
    """One generated image.

    Attributes:
        file_size: How many bytes the image file has.
        format: `png`, `jpeg`, `webp` or `gif`, read from the bytes.
        media_type: As `image/png`.
        width: In pixels, read from the bytes.
        height: In pixels, read from the bytes.
        path: Where it was written, if `to` was given. It is not held in memory then.
        url: Where the API offered it; such URLs expire. `None` if it came in the answer itself.
        revised_prompt: The prompt as the provider rewrote it, if it did and said so.
        prompt: The prompt as it was sent.
        parameters: What was sent beside the prompt.
        usage: What the order cost.
        inference_id: The API's id of the request.
        order: The id of the order.
        attempts: How many times the request was sent.
        seconds: From the first attempt to the whole image, in seconds.
        others: The further images of the same answer, where `options` asked for several. They are written beside
            `path`, as `fox-2.png`, and their `usage` is unknown: that of the order is with the first.
    """

    file_size: int
    format: str
    media_type: str
    width: int
    height: int
    prompt: str = attrs.field(repr=_shorten)
    parameters: Mapping[str, Any]
    usage: Usage
    order: str
    attempts: int
    seconds: float
    path: Path | None = None
    url: str | None = None
    revised_prompt: str | None = attrs.field(default=None, repr=lambda text: text and _shorten(text))
    inference_id: str | None = None
    others: tuple[GeneratedImage, ...] = ()
    _data: bytes | None = attrs.field(default=None, repr=False)

    @property
    def data(self) -> bytes:
        """The image file's bytes, as the API sent them. Read from `path` each time, if it was written there.

        Raises:
            OSError: The file is not there any more.
        """
        if self._data is not None:
            return self._data
        assert self.path is not None  # noqa: S101 - it is in memory or in a file
        return self.path.read_bytes()

    @property
    def sha256(self) -> str:
        """The SHA-256 digest of `data`, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    async def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the image to a file, as it was sent. The file appears whole or not at all.

        Args:
            path: Where to. The extension follows the bytes: `trex` becomes `trex.png`, and a JPEG saved as
                `trex.png` becomes `trex.jpg`.
            overwrite: Replace a file that is there already.

        Returns:
            The path that was written.

        Raises:
            FileExistsError: A file is there already, and `overwrite` is false.
            OSError: The folder is missing or not writable, or the disk is full. No part of a file is left.
        """
        return await asyncio.to_thread(self._save, Path(path), overwrite)

    def _save(self, path: Path, overwrite: bool) -> Path:
        target = check_target(path, self.format, overwrite=overwrite)
        write_whole(target, self.data, overwrite=overwrite)
        return target

    def to_pil(self) -> Image:
        """Decode the image with Pillow (`pip install "aimlapi-images[images]"`)."""
        try:
            from PIL import Image
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError('to_pil() needs Pillow: pip install "aimlapi-images[images]"') from error
        return Image.open(io.BytesIO(self.data))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What a notebook shows."""
        encoded = base64.b64encode(self.data).decode("ascii")
        if self.format in ("png", "jpeg"):
            return {self.media_type: encoded, "text/plain": repr(self)}
        # Notebooks have no display of their own for the other formats; the browser has.
        return {"text/html": f'<img src="data:{self.media_type};base64,{encoded}">', "text/plain": repr(self)}
