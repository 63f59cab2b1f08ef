"""Orders for `POST /v1/images/generations`: images from a prompt."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any, Final, cast

import attrs

from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.orders import schema
from aimlapi_images.orders.order import (
    Order,
    absolute,
    as_path,
    check_problems,
    check_spelling,
    collect_fields,
    normalized_format,
    order_id,
    plain_copy,
)
from aimlapi_rest.api.images import generate_image

_RESERVED: Final = ("model", "prompt")


@attrs.frozen
class _RawBody:
    """A body for the generated module that is sent unchanged, for any model."""

    fields: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return dict(self.fields)


@attrs.frozen
class GenerationOrder(Order):
    """An order for an image from a prompt.

    Attributes:
        body: The JSON body.
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
        fields = schema.generation_request(self.body["model"])["properties"]
        default = fields.get("output_format", {}).get("x-api-default")
        return normalized_format(self.body.get("output_format") or default or super().output_format)

    def request(self, attempt: int) -> dict[str, Any]:
        body = cast(Any, _RawBody(self.body))
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
    """Check the caller's arguments and build an order.

    Args:
        prompt: Description of the image. An empty one is not sent to a model that works without a prompt.
        model: The model's name. Requests for a model that the schema does not describe are sent unchecked.
        parameters: Fields of the request by name; those that are `None` are not sent.
        options: Further fields, by name.
        to: Where to write the image. Its extension sets the format if no field does, and otherwise follows it.
        order: The order's id; a new one if `None`.

    Raises:
        InvalidRequestError: The schema forbids the request, it cannot be sent as JSON, or `to` cannot be written.
    """
    request = schema.generation_request(model) if model in schema.known_models() else None
    given = None if to is None else as_path(to, "to")
    fields = collect_fields(model, parameters, options, reserved=_RESERVED, to=given, request=request)
    body = {"model": model, "prompt": prompt, **fields}
    if request is not None:
        if prompt == "" and "prompt" not in request.get("required", ()):
            del body["prompt"]
        _check_names(body, model, request["properties"], options or {})
    check_problems(schema.generation_problems(body), described=request is not None)
    new = GenerationOrder(id=order_id(order), to=given and absolute(given), to_given=given, body=plain_copy(body))
    new.check()
    return new


def _check_names(body: Mapping[str, Any], model: str, known: Collection[str], options: Mapping[str, Any]) -> None:
    """Refuse fields of other models. Options that no model has may be new, unless they are misspelled."""
    foreign = [name for name in body if name not in known and (name not in options or name in schema.all_fields())]
    if foreign:
        raise InvalidRequestError(
            f"{model} does not have {', '.join(foreign)}; its fields are {', '.join(n for n in known if n != 'model')}"
        )
    check_spelling(body, known)
