"""Generated pictures by URL, and the translation of requests to pictures."""

from __future__ import annotations

import base64
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import attrs
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from aimlapi_images.emulator.answers import ApiError
from aimlapi_images.emulator.painting import FORMATS, Picture, paint
from aimlapi_images.emulator.sizes import size_of

# Pictures are drawn when they are fetched; what is kept for a URL is the request alone.
_PICTURES_KEPT: Final = 10_000
IMAGES_PATH: Final = "/generations/emulated"

# US dollars for a square and for a larger image. Made up, in the order of real prices.
_PRICES: Final = {"low": (0.009, 0.013), "medium": (0.034, 0.050), "high": (0.133, 0.200)}


@attrs.define
class Pictures:
    """The pictures that can be fetched. The oldest are dropped."""

    _kept: OrderedDict[str, Picture] = attrs.field(factory=OrderedDict, init=False, repr=False)

    async def entry(self, request: Request, picture: Picture, response_format: str) -> dict[str, Any]:
        """Build an entry of `data`, with the URL or the bytes of a picture."""
        if response_format == "b64_json":
            data = await run_in_threadpool(paint, picture)
            return {"b64_json": base64.b64encode(data).decode("ascii")}
        return {"url": str(request.base_url).rstrip("/") + self._keep(picture)}

    async def image(self, request: Request) -> Response:
        """Serve an image by its URL, without a key, as a CDN does."""
        picture = self._kept.get(request.path_params["name"])
        if picture is None:
            raise ApiError(404, "There is no such image, or it has expired.")
        data = await run_in_threadpool(paint, picture)
        return Response(data, media_type=f"image/{picture.output_format}")

    def _keep(self, picture: Picture) -> str:
        """Store a picture, drop the oldest, and return its path."""
        digest = hashlib.sha256(repr(attrs.astuple(picture)).encode("utf-8", "backslashreplace")).hexdigest()[:32]
        name = f"{digest}.{picture.output_format}"
        self._kept[name] = picture
        self._kept.move_to_end(name)
        if len(self._kept) > _PICTURES_KEPT:
            self._kept.popitem(last=False)
        return f"{IMAGES_PATH}/{name}"


def picture_of(asked: Mapping[str, Any], number: int = 0) -> Picture:
    """Translate a request to a picture.

    Args:
        asked: The fields of the request, including defaults. Common defaults apply to fields that a model lacks.
        number: The index among several pictures of one request, from 0.

    Raises:
        ApiError: The emulator cannot draw it.
    """
    width, height = size_of(asked)
    asked_format = str(asked.get("output_format", "png"))
    output_format = "jpeg" if asked_format == "jpg" else asked_format
    if output_format not in FORMATS:
        raise ApiError(400, f"The emulator draws {', '.join(FORMATS)}, and not {asked_format}.")
    return Picture(
        # Some models need no prompt.
        prompt=str(asked.get("prompt") or asked.get("model", "")),
        width=width,
        height=height,
        quality=str(asked.get("quality", "medium")),
        output_format=output_format,
        compression=int(asked.get("output_compression", 100)),
        transparent=asked.get("background") == "transparent",
        number=number,
    )


def price_of(asked: Mapping[str, Any]) -> float:
    """The price of one picture in US dollars."""
    width, height = size_of(asked)
    return _PRICES.get(str(asked.get("quality")), _PRICES["medium"])[width * height > 1024 * 1024]
