"""Orders for `POST /v1/images/generations`: images from a prompt."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Final

import attrs

from aimlapi_images.orders import schema
from aimlapi_images.orders.order import (
    Order,
    as_path,
    check_names,
    check_problems,
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
    extra_body: Mapping[str, Any] | None = None,
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
    fields, extra = collect_fields(
        model, parameters, options, extra_body, reserved=_RESERVED, to=given, request=request
    )
    body = plain_copy({"model": model, "prompt": prompt, **fields})
    if request is not None:
        if prompt == "" and "prompt" not in request.get("required", ()):
            del body["prompt"]
        check_names(body, request)
    check_problems(schema.generation_problems(body), extra, described=request is not None)
    return GenerationOrder.build(order, body | plain_copy(extra), given, overwrite)
