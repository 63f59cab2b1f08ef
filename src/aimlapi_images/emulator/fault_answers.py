"""What the faults of the table look like on the wire."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from aimlapi_images.emulator.answers import ApiError, error_answer, html_answer, json_answer
from aimlapi_images.emulator.faults import Fault
from aimlapi_images.emulator.settings import Settings
from aimlapi_images.emulator.state import State

CLOSE_EXTENSION: Final = "aimlapi_images.close"
"""An ASGI extension of our servers: a function that closes the connection at once."""

DRIP_SECONDS: Final = 10.0
_DRIP_PIECES: Final = 20


class DropConnection(Response):
    """Close the connection instead of answering.

    Args:
        response: What to begin to send before that, if anything.
    """

    def __init__(self, response: Response | None = None) -> None:
        super().__init__()
        self._response = response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send half of the response, and close the connection."""
        if self._response is not None:
            body = bytes(self._response.body)
            await send(_start(self._response))
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        scope["extensions"][CLOSE_EXTENSION]()
        while (await receive())["type"] != "http.disconnect":
            pass


class SlowResponse(Response):
    """Send a response in small pieces.

    Args:
        response: The response.
        state: Whose time passes between two pieces.
    """

    def __init__(self, response: Response, state: State) -> None:
        super().__init__()
        self._response, self._state = response, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        body = bytes(self._response.body)
        await send(_start(self._response))
        step = -(-len(body) // _DRIP_PIECES)
        for begin in range(0, len(body), step):
            await send({"type": "http.response.body", "body": body[begin : begin + step], "more_body": True})
            await self._state.wait(DRIP_SECONDS / _DRIP_PIECES)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _start(response: Response) -> dict[str, Any]:
    return {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}


def failure(request: Request, fault: Fault, settings: Settings) -> Response | None:
    """The response of a fault that brings no answer of the API with status 200, or `None`."""
    match fault.kind:
        case "rate_limited":
            return error_answer(request, ApiError(429, "Too Many Requests", headers=_retry_after(settings)))
        case "free_tier":
            return _error(request, 429, "Free-tier limit: You've reached your free limit for the hour.")
        case "out_of_credits":
            message = "You've run out of credits. Please top up your balance in your account settings."
            return _error(request, 403, message)
        case "content_policy":
            message = "Your request was rejected by the safety system."
            error = {"message": message, "type": "image_generation_user_error", "code": "moderation_blocked"}
            return json_answer(request, {"error": {**error, "param": None}}, 400)
        case "maintenance":
            return _error(request, 500, "The model is under maintenance, please try again later.")
        case "server_error":
            return _error(request, 500, "Something wrong with the server. Please, try again later.")
        case "bad_gateway":
            return _error(request, 502, "Bad Gateway")
        case "unavailable":
            return _error(request, 503, "Service unavailable")
        case "gateway_timeout":
            return _error(request, 504, "Generation timeout")
        case "proxy_error":
            return html_answer(502, "Bad Gateway")
        case "proxy_timeout":
            return html_answer(524, "A timeout occurred")
        case "dropped_before" | "dropped_after":
            return DropConnection()
    return None


def damaged(fault: Fault, entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What becomes of the images of an answer, which are base64 for the kinds that need it."""
    match fault.kind:
        case "empty_data":
            return []
        case "invalid_base64":
            return [{**entry, "b64_json": "%%% this is not base64 %%%"} for entry in entries]
        case "truncated_base64":
            return [{**entry, "b64_json": _first_part(entry["b64_json"])} for entry in entries]
        case "truncated_image":
            return [{**entry, "b64_json": _half_image(entry["b64_json"])} for entry in entries]
    return [*entries]


def needs_base64(fault: Fault | None) -> bool:
    """Whether a fault is in the base64 of an answer, whatever the request asks for."""
    return fault is not None and fault.kind in ("invalid_base64", "truncated_base64", "truncated_image")


def needs_url(fault: Fault | None) -> bool:
    """Whether a fault is at the image host, whatever the request asks for."""
    kinds = ("expired_url", "private_redirect", "late_url", "image_cut", "slow_image_host")
    return fault is not None and fault.kind in kinds


def _retry_after(settings: Settings) -> dict[str, str]:
    if settings.retry_after is None:
        return {}
    seconds = settings.retry_after / settings.time_scale  # a client waits in real time
    return {"retry-after": f"{seconds:.3f}".rstrip("0").rstrip(".")}


def _error(request: Request, status: int, message: str) -> Response:
    return error_answer(request, ApiError(status, message))


def _first_part(text: str) -> str:
    return text[: len(text) // 8 * 4 + 1]


def _half_image(text: str) -> str:
    data = base64.b64decode(text)
    return base64.b64encode(data[: len(data) // 2]).decode("ascii")
