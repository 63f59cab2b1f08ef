"""What one order is, whatever endpoint it goes to, and the checks that all orders share."""

from __future__ import annotations

import abc
import difflib
import json
import os
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import attrs

from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.media.files import check_target
from aimlapi_images.media.formats import format_of, with_extension
from aimlapi_images.media.json_values import number
from aimlapi_images.orders import schema

_DEFAULT_FORMAT = "png"
_FORMATS = {"jpg": "jpeg", "tif": "tiff"}
_COUNTED_BY = ("n", "num_images")
# What the models give at the most, and what an answer may be long for.
_MOST_IMAGES = 10
# The schema does not say what a price depends on: what makes an image larger, better or more than one.
_PRICED_BY = (
    *("model", *_COUNTED_BY, "quality"),
    *("size", "image_size", "resolution", "aspect_ratio", "width", "height"),
)


@attrs.frozen
class Order(abc.ABC):
    """One image that is paid for once, however many attempts it takes.

    Attributes:
        id: Names the order at the provider; each attempt is sent as `<id>.<attempt>`.
        to: Where the image is to be written, or `None` to keep it in memory alone.
    """

    id: str
    to: Path | None

    @property
    @abc.abstractmethod
    def prompt(self) -> str:
        """What the image is to show."""

    @property
    @abc.abstractmethod
    def parameters(self) -> dict[str, Any]:
        """What is sent beside the prompt."""

    @abc.abstractmethod
    def request(self, attempt: int) -> dict[str, Any]:
        """One attempt's request, in the words of `httpx.AsyncClient.build_request`."""

    @property
    def kind(self) -> tuple[object, ...]:
        """What decides the price: orders of one kind cost about the same."""
        parameters = self.parameters
        return type(self), *(repr(parameters.get(name)) for name in _PRICED_BY)

    @property
    def count(self) -> int:
        """How many images were asked for, from 1 to 10."""
        asked = (number(self.parameters.get(name)) or 1 for name in _COUNTED_BY)
        return int(min(max(1, *asked), _MOST_IMAGES))

    def request_id(self, attempt: int) -> str:
        """The client request id of one attempt, counted from 1."""
        return f"{self.id}.{attempt}"

    @property
    def target(self) -> Path | None:
        """The file that is to be written, if the image comes in the format that was asked for."""
        return None if self.to is None else Path(with_extension(self.to.resolve(), self.output_format))

    @property
    def output_format(self) -> str:
        """The format that was asked for, or is the API's default."""
        return plain_format(self.parameters.get("output_format", _DEFAULT_FORMAT))

    def check(self) -> None:
        """Check the order's id, and that the image could be written, before it costs anything.

        Raises:
            InvalidRequestError: One of them cannot be right.
        """
        # The longest suffix that an attempt may add has to fit the documented 128 characters.
        if problems := schema.request_id_problems(self.request_id(9999)):
            raise InvalidRequestError(f"order {self.id!r} cannot name a request: with its attempt, {problems[0].text}")
        if self.to is None:
            return
        try:
            check_target(self.to, self.output_format)
        except OSError as error:
            raise InvalidRequestError(f"the image could not be written: {error.strerror}: {error.filename}") from error
        except ValueError as error:  # a null character
            raise InvalidRequestError(f"the image could not be written to {str(self.to)!r}: {error}") from error


def new_id(order: str | None) -> str:
    """The caller's id for an order, or a new one."""
    if not isinstance(order, str | None) or order == "":
        raise InvalidRequestError(f"order is {order!r}, and has to be an id")
    return uuid.uuid4().hex if order is None else order


def target_path(to: str | os.PathLike[str] | None) -> Path | None:
    """The caller's `to` as a path."""
    if not isinstance(to, str | os.PathLike | None):
        raise InvalidRequestError(f"to is {to!r}, and has to be a path")
    return None if to is None else Path(to)


def plain_format(name: object) -> str:
    """A format's name as we have it, from one that a model may have for it."""
    return _FORMATS.get(str(name), str(name))


def format_asked_by(to: Path | None, model: str, request: Mapping[str, Any]) -> dict[str, str]:
    """`fox.jpg` asks for a JPEG, where no field says what to make.

    Args:
        to: Where the image is to be written.
        model: Its model's name.
        request: The schema of the model's request. One that has no list of formats is left to its API.

    Returns:
        The field to send, if there is one.

    Raises:
        InvalidRequestError: The model makes images, but none that could have this extension.
    """
    asked = None if to is None else format_of(to)
    known = request["properties"].get("output_format", {}).get("enum", ())
    if asked is None or not known:
        return {}
    for value in known:
        if plain_format(value) == asked:
            return {"output_format": value}
    made = ", ".join(str(value) for value in known if value)
    raise InvalidRequestError(f"{to}: {model} makes no {asked}, but {made}: change the extension, or set output_format")


def join_fields(
    parameters: Mapping[str, Any], options: Mapping[str, Any] | None, own: Collection[str]
) -> dict[str, Any]:
    """The fields to send: those that are not `None`.

    Args:
        parameters: Those that the caller's signature names.
        options: Others, by name.
        own: Names that cannot come as options.
    """
    if not isinstance(options, Mapping | None) or not all(isinstance(name, str) for name in options or ()):
        raise InvalidRequestError(f"options is {options!r}, and has to be a mapping from field names to values")
    fields = {name: value for name, value in parameters.items() if value is not None}
    if twice := [name for name in options or () if name in fields or name in own]:
        raise InvalidRequestError(f"{', '.join(twice)} in options: pass it as an argument of its own")
    return {**fields, **{name: value for name, value in (options or {}).items() if value is not None}}


def check_model(model: object) -> None:
    """A model has a name."""
    if not isinstance(model, str) or not model.strip():
        raise InvalidRequestError(f"model is {model!r}, and has to be the name of one")


def check_spelling(unknown: Collection[str], known: Collection[str]) -> None:
    """A field that the schema does not have is sent, unless it looks like one that it has: the API would ignore it."""
    for name in unknown:
        if meant := difflib.get_close_matches(name, known, n=1, cutoff=0.85):
            raise InvalidRequestError(f"{name} in options is no field of this model: is {meant[0]} meant?")


def check_json(body: Mapping[str, Any]) -> None:
    """A body has to be what JSON can say."""
    try:
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"the request cannot be sent as JSON: {error}") from error
