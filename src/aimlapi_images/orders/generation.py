"""Orders for images made of words: `POST /v1/images/generations`."""

from __future__ import annotations

import copy
import os
from collections.abc import Collection, Mapping
from typing import Any, cast

import attrs

from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.orders import schema
from aimlapi_images.orders.order import (
    Order,
    check_json,
    check_model,
    check_spelling,
    format_asked_by,
    join_fields,
    new_id,
    plain_format,
    target_path,
)
from aimlapi_rest.api.images import generate_image

_OWN_ARGUMENTS = ("model", "prompt")


@attrs.frozen
class _AsGiven:
    """A body for the generated module that is sent as it is, whichever model it is for."""

    fields: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return dict(self.fields)


@attrs.frozen
class GenerationOrder(Order):
    """An order for an image made of words.

    Attributes:
        body: What is sent.
    """

    body: Mapping[str, Any]

    @property
    def prompt(self) -> str:
        return str(self.body.get("prompt", ""))

    @property
    def parameters(self) -> dict[str, Any]:
        return {name: value for name, value in self.body.items() if name != "prompt"}

    @property
    def output_format(self) -> str:
        fields = schema.generation_request(str(self.body["model"]))["properties"]
        default = fields.get("output_format", {}).get("x-api-default")
        return plain_format(self.body.get("output_format") or default or super().output_format)

    def request(self, attempt: int) -> dict[str, Any]:
        # The generated module builds the request; its parser is left alone (see `responses`).
        body = cast(Any, _AsGiven(self.body))
        return generate_image._get_kwargs(body=body, x_client_request_id=self.request_id(attempt))


def new_generation(
    prompt: str,
    *,
    model: str,
    parameters: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    to: str | os.PathLike[str] | None = None,
    order: str | None = None,
) -> GenerationOrder:
    """Check what a caller asks for, and make it an order.

    Args:
        prompt: What the image is to show. Empty, and not sent, for a model that works without one.
        model: The model's name. One that the schema does not describe is sent unchecked.
        parameters: Fields of the request by name; those that are `None` are not sent.
        options: More fields, for what the caller's signature does not name.
        to: Where to write the image. Its extension says the format, if no field does, and follows it otherwise.
        order: The order's id; a new one if `None`.

    Raises:
        InvalidRequestError: The schema forbids it, it cannot be sent as JSON, or `to` cannot be written.
    """
    check_model(model)
    fields, path = join_fields(parameters, options, _OWN_ARGUMENTS), target_path(to)
    if model in schema.known_models() and "output_format" not in fields:
        fields |= format_asked_by(path, model, schema.generation_request(model))
    body = {"model": model, "prompt": prompt, **fields}
    if model in schema.known_models():
        request = schema.generation_request(model)
        if prompt == "" and "prompt" not in request.get("required", ()):
            del body["prompt"]
        _check_names(body, model, request["properties"], options or {})
        problems = schema.generation_problems(body)
    else:
        problems = [
            each for each in schema.generation_problems(body) if each.field == "prompt" and each.rule != "maxLength"
        ]
    if problems:
        raise InvalidRequestError("; ".join(dict.fromkeys(problem.text for problem in problems)))
    check_json(body)
    # A copy: the order may wait for long, and the caller's objects may change.
    new = GenerationOrder(id=new_id(order), to=path, body=copy.deepcopy(body))
    new.check()
    return new


def _check_names(body: Mapping[str, Any], model: str, known: Collection[str], options: Mapping[str, Any]) -> None:
    """What another model has is no field of this one; what no model has may be new, unless it is misspelt."""
    foreign = [name for name in body if name not in known and (name not in options or name in schema.all_fields())]
    if foreign:
        raise InvalidRequestError(
            f"{', '.join(foreign)}: no field of {model}, which has {', '.join(n for n in known if n != 'model')}"
        )
    check_spelling([name for name in body if name not in known], known)
