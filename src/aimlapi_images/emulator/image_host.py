"""The host of generated images: serves them by URL, without a key, as a CDN does."""

from __future__ import annotations

import hashlib
import re
from typing import Final

import attrs
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from aimlapi_images.emulator.answers import ApiError
from aimlapi_images.emulator.drawing.paint import paint
from aimlapi_images.emulator.drawing.picture import Picture
from aimlapi_images.emulator.fault_answers import DRIP_SECONDS, DropConnection
from aimlapi_images.emulator.state import State

IMAGES_PATH: Final = "/generations/emulated"

_PRIVATE: Final = "https://169.254.169.254/latest/meta-data/"
_NOT_THERE_YET: Final = 2


def image_url(request: Request, state: State, name: str) -> str:
    """The URL of an image, on the host that the request names."""
    base = request.base_url.replace(port=state.image_port) if state.image_port else request.base_url
    return str(base).rstrip("/") + f"{IMAGES_PATH}/{name}"


async def encoded(image: Picture | bytes) -> bytes:
    """An image's bytes, drawn in a thread unless they are known."""
    if isinstance(image, bytes):
        return image
    known = paint.peek(image)
    return await run_in_threadpool(paint, image) if known is None else known


@attrs.frozen
class ImageHost:
    """The endpoint for images.

    Attributes:
        state: The state of the emulator.
    """

    state: State

    async def image(self, request: Request) -> Response:
        """Serve an image, or do what its fault says."""
        image = self.state.images.get(request.path_params["name"])
        if image is None or image.expires <= self.state.now():
            raise ApiError(404, "There is no such image, or it has expired.")
        image.fetches += 1
        kind = image.fault.kind if image.fault else None
        if kind == "expired_url" or (kind == "late_url" and image.fetches <= _NOT_THERE_YET):
            raise ApiError(404, "There is no such image, or it has expired.")
        if kind == "private_redirect":
            return RedirectResponse(_PRIVATE, 302)
        if kind == "slow_image_host":
            await self.state.wait(DRIP_SECONDS)
        response = _serve(request, await encoded(image.source), f"image/{image.output_format}")
        if kind == "image_cut" and image.fetches == 1:
            return DropConnection(response)
        self.state.count("fetched")
        return response

    async def preview(self, request: Request) -> Response:
        """Serve one of the latest images to the live page. Has no fault, and counts nothing."""
        image = self.state.images.get(request.path_params["name"])
        if image is None:
            raise ApiError(404, "There is no such image.")
        return _serve(request, await encoded(image.source), f"image/{image.output_format}")


def _serve(request: Request, data: bytes, media_type: str) -> Response:
    """Serve bytes with an entity tag, or the one range that is asked for."""
    etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {"etag": etag, "accept-ranges": "bytes", "cache-control": "public, max-age=3600"}
    if request.headers.get("if-none-match") in (etag, "*"):
        return Response(status_code=304, headers=headers)
    wanted = request.headers.get("range")
    if wanted is None or request.headers.get("if-range", etag) != etag:
        return Response(data, headers=headers, media_type=media_type)
    found = re.fullmatch(r"bytes=(\d{0,12})-(\d{0,12})", wanted, re.ASCII)
    if found is None or not (found[1] or found[2]):
        return Response(data, headers=headers, media_type=media_type)  # several ranges, or not one at all
    first, last = _range(found[1], found[2], len(data))
    if first >= len(data) or last < first:
        return Response(status_code=416, headers={**headers, "content-range": f"bytes */{len(data)}"})
    headers["content-range"] = f"bytes {first}-{last}/{len(data)}"
    return Response(data[first : last + 1], 206, headers=headers, media_type=media_type)


def _range(first: str, last: str, size: int) -> tuple[int, int]:
    """The first and the last byte of a range such as `0-99`, `100-` or `-50`."""
    if not first:
        return max(0, size - int(last)), size - 1
    return int(first), min(int(last), size - 1) if last else size - 1
