"""Responses of the emulator: images with their cost, and errors in the form of the API."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aimlapi_images.models import CREDITS_PER_USD
from aimlapi_images.orders import schema

_TOLD: Final = ("background", "output_format", "quality", "size")


class ApiError(HTTPException):
    """An error response."""

    def __init__(self, status: int, message: str, details: list[dict[str, Any]] | None = None) -> None:
        super().__init__(status, message)
        self.details = details


def image_answer(
    request: Request, images: Sequence[Mapping[str, Any]], asked: Mapping[str, Any], usd: float
) -> JSONResponse:
    """Build the response to a successful request.

    Args:
        request: The request.
        images: The fields of each entry of `data`.
        asked: The fields of the request, including defaults.
        usd: The cost in US dollars.
    """
    credits_used = round(usd * CREDITS_PER_USD)
    empty = {"b64_json": None, "url": None, "revised_prompt": None}
    answer = {
        "created": int(time.time()),
        "data": [{**empty, **image} for image in images],
        **{name: asked[name] for name in _TOLD if name in asked},
        "meta": {"usage": {"credits_used": credits_used, "usd_spent": usd}},
    }
    cost = {"x-aimlapi-credits-used": str(credits_used), "x-aimlapi-usd-spent": str(usd)}
    return JSONResponse(answer, headers={**correlation(request), **cost})


async def error_answer(request: Request, error: Exception) -> Response:
    """Build the response to an error."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for these alone
    body: dict[str, Any] = {
        "message": error.detail or HTTPStatus(error.status_code).phrase,
        "path": request.url.path,
        "requestId": str(uuid.uuid4()),
        "statusCode": error.status_code,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if isinstance(error, ApiError) and error.details:
        body["meta"] = error.details
    return JSONResponse(body, status_code=error.status_code, headers={**correlation(request), **(error.headers or {})})


def correlation(request: Request) -> dict[str, str]:
    """The headers that identify a response. They are the same whenever this is called for one request."""
    if not hasattr(request.state, "inference_id"):
        request.state.inference_id = str(uuid.uuid4())
    headers = {"x-inference-id": request.state.inference_id}
    sent = request.headers.get("x-client-request-id")
    # Like the API, silently drop an invalid id.
    if sent is not None and not schema.request_id_problems(sent):
        headers["x-client-request-id"] = sent
    return headers
