"""Orders for `POST /v1/images/generations`: images from a prompt."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any, Final

import attrs

from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.orders import schema
from aimlapi_images.orders.order import (
    Order,
    as_path,
    check_problems,
    check_spelling,
    collect_fields,
    normalized_format,
    plain_copy,
)
from aimlapi_rest.api.images import generate_image

_RESERVED: Final = ("model", "prompt")


@attrs.frozen
class GenerationOrder(Order):
    """An order for an image from a prompt."""

    @property
    def output_format(self) -> str:
        known = schema.generation_request(self.fields["model"])["properties"]
        default = known.get("output_format", {}).get("x-api-default")
        return normalized_format(self.fields.get("output_format") or default or super().output_format)

    def request(self, request_id: str) -> dict[str, Any]:
        # The generated module only calls `to_dict`: so the fields are sent unchanged, for any model.
        body: Any = SimpleNamespace(to_dict=lambda: dict(self.fields))
        return generate_image._get_kwargs(body=body, x_client_request_id=request_id)


def new_generation(
    prompt: str,
    *,
    model: str,
    parameters: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    to: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    order: str | None = None,
) -> GenerationOrder:
    """Check the caller's arguments, which `ImageClient.generate` describes, and build an order.

    An empty prompt is not sent to a model that works without one. `parameters` are the fields that the signature
    of the caller names. Requests for a model that the schema does not describe are sent unchecked.
    """
    request = schema.generation_request(model) if model in schema.known_models() else None
    given = None if to is None else as_path(to, "to")
    fields = collect_fields(model, parameters, options, reserved=_RESERVED, to=given, request=request)
    body = plain_copy({"model": model, "prompt": prompt, **fields})
    if request is not None:
        if prompt == "" and "prompt" not in request.get("required", ()):
            del body["prompt"]
        _check_names(body, model, request["properties"], options or {})
    check_problems(schema.generation_problems(body), described=request is not None)
    return GenerationOrder.build(order, body, given, overwrite)


def _check_names(body: Mapping[str, Any], model: str, known: Collection[str], options: Mapping[str, Any]) -> None:
    """Refuse fields of other models. Options that no model has may be new, unless they are misspelled."""
    foreign = [name for name in body if name not in known and (name not in options or name in schema.all_fields())]
    if foreign:
        raise InvalidRequestError(
            f"{model} does not have {', '.join(foreign)}; its fields are {', '.join(n for n in known if n != 'model')}"
        )
    check_spelling(body, known)
