"""Images that can be fetched by URL. Memory is bounded: the oldest are dropped."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from typing import Final

import attrs

from aimlapi_images.emulator.drawing.picture import Picture
from aimlapi_images.emulator.faults import Fault

_IMAGES_KEPT: Final = 10_000
_BYTES_KEPT: Final = 128 * 2**20


@attrs.define(eq=False)
class StoredImage:
    """An image at a URL.

    Attributes:
        source: What to draw when the image is fetched, or the encoded image.
        output_format: The format that the name says.
        expires: When the URL expires, in seconds since the epoch.
        fault: What goes wrong at the image host.
        fetches: How often it was fetched, also in vain.
    """

    source: Picture | bytes
    output_format: str
    expires: float
    fault: Fault | None = None
    fetches: int = 0

    @property
    def size(self) -> int:
        """The memory it takes, in bytes."""
        return len(self.source) if isinstance(self.source, bytes) else 0


class ImageStore:
    """Images by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, StoredImage] = OrderedDict()
        self._bytes = 0

    def add(self, image: StoredImage) -> str:
        """Keep an image, drop the oldest ones, and return its name."""
        name = f"{uuid.uuid4().hex}.{image.output_format}"
        with self._lock:
            self._kept[name] = image
            self._bytes += image.size
            while len(self._kept) > _IMAGES_KEPT or (self._bytes > _BYTES_KEPT and len(self._kept) > 1):
                self._bytes -= self._kept.popitem(last=False)[1].size
        return name

    def get(self, name: str) -> StoredImage | None:
        """The image with a name, if it is still there."""
        with self._lock:
            return self._kept.get(name)
