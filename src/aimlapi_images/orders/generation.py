"""Orders for `POST /v1/images/generations`: images from a prompt."""

from types import SimpleNamespace
from typing import Any

import attrs

from aimlapi_images.orders import schema
from aimlapi_images.orders.order import Order, normalized_format
from aimlapi_rest.api.images import generate_image


@attrs.frozen
class GenerationOrder(Order):
    ENDPOINT = "generations"

    @property
    def output_format(self) -> str:
        known = schema.request("generations", self.fields["model"])["properties"]
        default = known.get("output_format", {}).get("x-api-default")
        return normalized_format(self.fields.get("output_format") or default or super().output_format)

    def request(self, request_id: str) -> dict[str, Any]:
        # The generated module only calls `to_dict`: so the fields are sent unchanged, for any model.
        body: Any = SimpleNamespace(to_dict=lambda: dict(self.fields))
        return generate_image._get_kwargs(body=body, x_client_request_id=request_id)
