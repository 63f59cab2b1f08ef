"""What one order is, and how a caller's words become one that may be sent."""

from __future__ import annotations

import difflib
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import attrs

from aimlapi_images import schema
from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.files import check_target
from aimlapi_images.formats import with_extension
from aimlapi_rest.models import ImageGenerationRequest
from aimlapi_rest.types import UNSET

_OWN_ARGUMENTS = ("model", "prompt")
_FIELDS = {field.name for field in attrs.fields(ImageGenerationRequest)} - {"additional_properties"}
_DEFAULT_FORMAT = "png"


@attrs.frozen
class Order:
    """One generation that is paid for once, however many attempts it takes.

    Attributes:
        id: Names the order at the provider; each attempt is sent as `<id>.<attempt>`.
        request: The body to send.
        to: Where the image is to be written, or `None` to keep it in memory alone.
    """

    id: str
    request: ImageGenerationRequest
    to: Path | None = None

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
        return str(self.parameters.get("output_format", _DEFAULT_FORMAT))

    @property
    def parameters(self) -> dict[str, Any]:
        """What is sent beside the prompt."""
        body = self.request.to_dict()
        del body["prompt"]
        return body


def new_order(
    prompt: str,
    *,
    model: str,
    parameters: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    to: str | os.PathLike[str] | None = None,
    order: str | None = None,
) -> Order:
    """Check what a caller asks for, and make it an order.

    Args:
        prompt: What the image is to show.
        model: The model's name. One that the schema does not describe is sent unchecked.
        parameters: Fields of the request by name; those that are `None` are not sent.
        options: More fields, for what the caller's signature does not name.
        to: Where to write the image; the extension will follow its format.
        order: The order's id; a new one if `None`.

    Raises:
        InvalidRequestError: The schema forbids it, it cannot be sent as JSON, or `to` cannot be written.
    """
    _check_types(model, options, to, order)
    fields = _join({name: value for name, value in parameters.items() if value is not None}, options or {})
    request = ImageGenerationRequest(
        model=cast(Any, model),
        prompt=prompt,
        **{name: fields.get(name, UNSET) for name in _FIELDS.difference(_OWN_ARGUMENTS)},
    )
    request.additional_properties = {name: value for name, value in fields.items() if name not in _FIELDS}
    body = request.to_dict()
    problems = schema.generation_problems(body)
    if model in schema.known_models():
        _check_spelling(request.additional_properties)
    else:
        problems = [each for each in problems if each.field == "prompt"]
    if problems:
        raise InvalidRequestError("; ".join(dict.fromkeys(problem.text for problem in problems)))
    _check_json(body)
    new = Order(
        id=uuid.uuid4().hex if order is None else order,
        request=request,
        to=None if to is None else Path(to),
    )
    # The longest suffix that an attempt may add has to fit the documented 128 characters.
    if problems := schema.request_id_problems(new.request_id(9999)):
        raise InvalidRequestError(f"order {order!r} cannot name a request: with its attempt, {problems[0].text}")
    if new.to is not None:
        _check_target(new.to, new.output_format)
    return new


def _check_types(model: object, options: object, to: object, order: object) -> None:
    """What the schema does not cover: our own arguments."""
    if not isinstance(model, str) or not model.strip():
        raise InvalidRequestError(f"model is {model!r}, and has to be the name of one")
    if not isinstance(options, Mapping | None) or not all(isinstance(name, str) for name in options or ()):
        raise InvalidRequestError(f"options is {options!r}, and has to be a mapping from field names to values")
    if not isinstance(to, str | os.PathLike | None):
        raise InvalidRequestError(f"to is {to!r}, and has to be a path")
    if not isinstance(order, str | None) or order == "":
        raise InvalidRequestError(f"order is {order!r}, and has to be an id")


def _check_target(to: Path, output_format: str) -> None:
    """Refuse a path that the image could not be written to, before it costs anything."""
    try:
        check_target(to, output_format)
    except OSError as error:
        raise InvalidRequestError(f"the image could not be written: {error.strerror}: {error.filename}") from error
    except ValueError as error:  # a null character
        raise InvalidRequestError(f"the image could not be written to {str(to)!r}: {error}") from error


def _join(parameters: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    if twice := [name for name in options if name in parameters or name in _OWN_ARGUMENTS]:
        raise InvalidRequestError(f"{', '.join(twice)} in options: pass it as an argument of its own")
    return {**parameters, **{name: value for name, value in options.items() if value is not None}}


def _check_spelling(unknown: Mapping[str, Any]) -> None:
    """A field that the schema does not have is sent, unless it looks like one that it has: the API would ignore it."""
    for name in unknown:
        if meant := difflib.get_close_matches(name, _FIELDS, n=1, cutoff=0.85):
            raise InvalidRequestError(f"{name} in options is no field of this model: is {meant[0]} meant?")


def _check_json(body: Mapping[str, Any]) -> None:
    try:
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"the request cannot be sent as JSON: {error}") from error
