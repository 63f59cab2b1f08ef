"""From the fields of a job to an order, by the code of `ImageClient.generate` and `edit`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.orders.edit import EditOrder
from aimlapi_images.orders.generation import GenerationOrder
from aimlapi_images.orders.order import Order
from aimlapi_images.threads import Threads

_KINDS_REMEMBERED: Final = 10_000
_ARGUMENTS: Final = ("model", "prompt", "image", "mask", "extra_body")

OrderT = TypeVar("OrderT", bound=Order)


class Checker:
    """Checks jobs with the code of `ImageClient.generate` and `edit`, in the thread that reads the jobs.

    A prompt that is no longer than one which was valid with the same other fields is valid as well.
    """

    def __init__(self, defaults: Mapping[str, Any]) -> None:
        self._longest: dict[str, int] = {}
        self._threads = Threads()
        self._runner = asyncio.Runner()

    def __enter__(self) -> Checker:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()
        self._threads.close()

    def problem(self, fields: Mapping[str, Any]) -> str | None:
        """Why a job is invalid, or `None`."""
        prompt, kind = fields.get("prompt"), ""
        try:
            if "image" not in fields and isinstance(prompt, str):
                prompt.encode()
                kind = repr([each for each in fields.items() if each[0] != "prompt"])
                if len(prompt) <= self._longest.get(kind, 0) and not prompt.isspace() and prompt:
                    return None
            if "image" in fields or "mask" in fields:
                self._runner.run(build(fields, self._threads))
            else:
                build_generation(fields)
                if len(self._longest) > _KINDS_REMEMBERED:
                    self._longest.clear()
                self._longest[kind] = max(len(str(prompt)), self._longest.get(kind, 0))
        except (InvalidRequestError, TypeError, ValueError) as error:
            return str(error)
        return None


async def build(fields: Mapping[str, Any], threads: Threads, **arguments: Any) -> Order:
    """The order of a job. Images of an edit are read and checked."""
    if "image" not in fields and "mask" not in fields:
        return build_generation(fields, **arguments)
    if "image" not in fields:
        raise InvalidRequestError("a mask needs an image")
    return await _build(EditOrder, fields, arguments).with_images(fields["image"], fields.get("mask"), threads)


def build_generation(fields: Mapping[str, Any], **arguments: Any) -> Order:
    """The order of a job without images."""
    return _build(GenerationOrder, fields, arguments)


def _build(kind: type[OrderT], fields: Mapping[str, Any], arguments: Mapping[str, Any]) -> OrderT:
    parameters = {name: value for name, value in fields.items() if name not in _ARGUMENTS}
    extra = fields.get("extra_body")
    return kind.new(
        fields.get("prompt", ""), model=fields["model"], parameters=parameters, extra_body=extra, **arguments
    )
