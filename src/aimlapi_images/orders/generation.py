"""Orders for `POST /v1/images/generations`: images from a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import attrs

from aimlapi_images.orders import schema
from aimlapi_images.orders.order import Order, normalized_format
from aimlapi_rest.api.images import generate_image


@attrs.frozen
class GenerationOrder(Order):
    """An order for an image from a prompt."""

    problems = staticmethod(schema.generation_problems)

    @staticmethod
    def schema_of(model: str) -> Mapping[str, Any] | None:
        return schema.generation_request(model) if model in schema.known_models() else None

    @property
    def output_format(self) -> str:
        known = schema.generation_request(self.fields["model"])["properties"]
        default = known.get("output_format", {}).get("x-api-default")
        return normalized_format(self.fields.get("output_format") or default or super().output_format)

    def request(self, request_id: str) -> dict[str, Any]:
        # The generated module only calls `to_dict`: so the fields are sent unchanged, for any model.
        body: Any = SimpleNamespace(to_dict=lambda: dict(self.fields))
        return generate_image._get_kwargs(body=body, x_client_request_id=request_id)
