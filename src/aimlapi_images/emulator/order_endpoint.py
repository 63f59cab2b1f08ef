"""One order, read top to bottom: key, validation, limits, fault, latency, bill, answer."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import attrs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from aimlapi_images.emulator.answers import ApiError, ids_of, image_answer, null_answer
from aimlapi_images.emulator.drawing.picture import Picture
from aimlapi_images.emulator.fault_answers import (
    DropConnection,
    SlowResponse,
    damaged,
    failure,
    needs_base64,
    needs_url,
)
from aimlapi_images.emulator.generation_body import Asked
from aimlapi_images.emulator.image_host import encoded, image_url
from aimlapi_images.emulator.image_store import StoredImage
from aimlapi_images.emulator.request_log import RequestLog
from aimlapi_images.emulator.settings import Settings
from aimlapi_images.emulator.state import Order, State
from aimlapi_images.errors import InvalidRequestError

Reader = Callable[[Request, Settings], AbstractAsyncContextManager[Asked]]
"""Validates a request, and says what it asks for."""

FAULT_HEADER: Final = "X-Emulator-Fault"


@attrs.frozen
class OrderEndpoint:
    """An endpoint that makes images.

    Attributes:
        state: The state of the emulator.
        read: Validates a request.
    """

    state: State
    read: Reader

    async def __call__(self, request: Request) -> Response:
        """Answer a request that has a valid key."""
        state, started, log = self.state, self.state.now(), self.state.log
        state.count("received")
        try:
            async with self.read(request, state.settings) as asked:
                order = self._new_order(request, asked)
                if refusal := state.refuses(order):
                    return _failed(request, refusal, state)
                try:
                    images = await asked.make([_in_format(order, each) for each in asked.pictures])
                except BaseException:
                    state.withdraw(order)
                    raise
        except HTTPException:
            state.count("refused")
            self._log(log, request, started, None)
            raise
        try:
            await state.wait(state.settings.duration(asked.pictures[0].quality, order.dice.random()))
            billed = state.finish(order)
        except BaseException:  # the emulator is stopping
            state.withdraw(order)
            raise
        self._log(log, request, started, order.usd if billed else None)
        return await self._answer(request, order, asked, images)

    def _new_order(self, request: Request, asked: Asked) -> Order:
        try:
            return self.state.new_order(asked.prompt, asked.usd, request.headers.get(FAULT_HEADER))
        except InvalidRequestError as error:
            raise ApiError(400, f"{FAULT_HEADER}: {error}") from error

    def _log(self, log: RequestLog, request: Request, started: float, usd: float | None) -> None:
        visible = self.state.now() + self.state.scaled(self.state.settings.log_delay)
        model = getattr(request.state, "model", None)
        log.add(ids_of(request), created=started, visible=visible, model=model, usd=usd)

    async def _answer(self, request: Request, order: Order, asked: Asked, images: list[Picture | bytes]) -> Response:
        fault = order.fault
        if fault and (failed := failure(request, fault, self.state.settings)):
            return failed
        entries = await self._entries(request, order, asked, images)
        if fault is None:
            return image_answer(request, entries, asked.fields, order.usd)
        entries = damaged(fault, entries)
        if fault.kind == "null_fields":
            return null_answer(request, entries)
        answer = image_answer(request, entries, asked.fields, order.usd)
        match fault.kind:
            case "cut_body":
                return DropConnection(answer)
            case "slow_drip":
                return SlowResponse(answer, self.state)
        return answer

    async def _entries(self, request: Request, order: Order, asked: Asked, images: list[Picture | bytes]) -> list[Any]:
        """The entries of `data`."""
        as_base64 = asked.fields.get("response_format", "url") == "b64_json"
        as_base64 = (as_base64 or needs_base64(order.fault)) and not needs_url(order.fault)
        entries = []
        for picture, image in zip(asked.pictures, images, strict=True):
            name = self._keep(order, image, picture.output_format)
            if as_base64:
                entry = {"b64_json": base64.b64encode(await encoded(image)).decode("ascii")}
            else:
                entry = {"url": image_url(request, self.state, name)}
            nulls = {"b64_json": None, "url": None, "revised_prompt": None}
            explicit = self.state.settings.explicit_nulls or (order.fault and order.fault.kind == "null_fields")
            entries.append({**nulls, **entry} if explicit else entry)
        return entries

    def _keep(self, order: Order, image: Picture | bytes, output_format: str) -> str:
        """Store an image for the image host and for the live page, and return its name."""
        expires = self.state.now() + self.state.scaled(self.state.settings.url_expires)
        fault = order.fault if needs_url(order.fault) else None
        name = self.state.images.add(StoredImage(image, output_format, expires, fault))
        self.state.latest.appendleft((order.prompt, name))
        return name


def _failed(request: Request, refusal: Any, state: State) -> Response:
    response = failure(request, refusal, state.settings)
    if response is None:  # pragma: no cover - a row of the table without an answer
        raise RuntimeError(f"the fault {refusal.kind} has no answer")
    return response


def _in_format(order: Order, picture: Picture) -> Picture:
    """The picture, in another format than requested if that is the fault."""
    if order.fault is None or order.fault.kind != "wrong_format":
        return picture
    return attrs.evolve(picture, output_format="jpeg" if picture.output_format == "png" else "png", transparent=False)
