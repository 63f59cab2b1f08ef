"""The bytes of pictures. The latest are kept, so that drawing a picture again costs nothing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from aimlapi_images.emulator.drawing.landscape import draw
from aimlapi_images.emulator.drawing.picture import Picture, encode

_BYTES_KEPT: Final = 48 * 2**20


class _Painter:
    """Draws one picture at a time, which bounds memory: drawing takes far more than the result."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Picture, bytes] = OrderedDict()
        self._bytes = 0

    def __call__(self, picture: Picture) -> bytes:
        with self._lock:
            data = self._kept.get(picture)
            if data is None:
                data = self._kept[picture] = encode(draw(picture), picture)
                self._bytes += len(data)
                while self._bytes > _BYTES_KEPT and len(self._kept) > 1:
                    self._bytes -= len(self._kept.popitem(last=False)[1])
            self._kept.move_to_end(picture)
            return data

    def peek(self, picture: Picture) -> bytes | None:
        """The bytes of a picture that was drawn lately. Never waits for one that is being drawn."""
        return self._kept.get(picture)


paint: Final = _Painter()
"""Draw a picture and encode it. The same picture gives the same bytes."""
