"""Responses of the emulator: images with their cost, and errors in the form of the API."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from aimlapi_images.emulator.request_log import Ids
from aimlapi_images.models import CREDITS_PER_USD
from aimlapi_images.orders import schema

_TOLD: Final = ("background", "output_format", "quality", "size")


class ApiError(HTTPException):
    """An error response."""

    def __init__(
        self,
        status: int,
        message: str,
        details: list[dict[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.details = details


def image_answer(
    request: Request, images: Sequence[Mapping[str, Any]], asked: Mapping[str, Any], usd: float
) -> Response:
    """Build the response to a successful request.

    Args:
        request: The request.
        images: The entries of `data`.
        asked: The fields of the request, including defaults.
        usd: The cost in US dollars.
    """
    credits_used = round(usd * CREDITS_PER_USD)
    told = {name: asked[name] for name in _TOLD if name in asked}
    if told.get("background") == "auto":
        told["background"] = "opaque"  # the answer says what was made
    answer = {
        "created": int(time.time()),
        **told,
        "data": list(images),
        "meta": {"usage": {"credits_used": credits_used, "usd_spent": usd}},
    }
    cost = {"x-aimlapi-credits-used": str(credits_used), "x-aimlapi-usd-spent": str(usd)}
    return json_answer(request, answer, headers=cost)


def null_answer(request: Request, images: Sequence[Mapping[str, Any]]) -> Response:
    """Build the documented response whose fields are all null, but for the images."""
    fields = ("created", "background", "output_format", "quality", "size", "usage", "meta")
    return json_answer(request, {**dict.fromkeys(fields), "data": list(images)})


def json_answer(
    request: Request, body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Build a response with the ids of the request."""
    # ASCII, since text from a request may contain surrogates, which are not valid in UTF-8.
    content = json.dumps(body, separators=(",", ":")).encode("ascii")
    return Response(
        content, status, headers={**ids_of(request).headers, **(headers or {})}, media_type="application/json"
    )


def error_answer(request: Request, error: HTTPException) -> Response:
    """Build the response to an error."""
    body: dict[str, Any] = {
        "message": error.detail or HTTPStatus(error.status_code).phrase,
        "path": request.url.path,
        "requestId": ids_of(request).request_id,
        "statusCode": error.status_code,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if isinstance(error, ApiError) and error.details:
        body["meta"] = error.details
    return json_answer(request, body, error.status_code, error.headers)


def html_answer(status: int, title: str) -> Response:
    """Build an error page of a proxy, without any id."""
    page = f"<html><head><title>{status} {title}</title></head><body><h1>{status} {title}</h1></body></html>"
    return Response(page, status, media_type="text/html")


def ids_of(request: Request) -> Ids:
    """The ids of a request. They are the same whenever this is called for one request."""
    if not hasattr(request.state, "ids"):
        sent = request.headers.get("x-client-request-id")
        # Like the API, silently drop an invalid id.
        valid = sent if sent is not None and not schema.request_id_problems(sent) else None
        request.state.ids = Ids(str(uuid.uuid4()), str(uuid.uuid4()), valid)
    ids: Ids = request.state.ids
    return ids
