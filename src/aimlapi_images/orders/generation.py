"""Orders for `POST /v1/images/generations`: images from a prompt."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import attrs

from aimlapi_images.orders import schema
from aimlapi_images.orders.order import Order, as_path, normalized_format, request_fields
from aimlapi_rest.api.images import generate_image


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
    extra_body: Mapping[str, Any] | None = None,
    to: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    order: str | None = None,
) -> GenerationOrder:
    """Check the caller's arguments, which `ImageClient.generate` describes, and build an order.

    `parameters` are the fields that the signature of the caller names. Requests for a model that the schema does not
    describe are sent unchecked.
    """
    given = None if to is None else as_path(to, "to")
    fields = request_fields(
        prompt,
        model,
        parameters,
        options,
        extra_body,
        reserved=("model", "prompt"),
        to=given,
        request=schema.generation_request(model) if model in schema.known_models() else None,
        problems=schema.generation_problems,
    )
    return GenerationOrder.build(order, fields, given, overwrite)
