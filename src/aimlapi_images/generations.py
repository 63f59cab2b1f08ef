"""Orders for images made of words: `POST /v1/images/generations`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

import attrs

from aimlapi_images import schema
from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.orders import Order, check_json, check_model, check_spelling, join_fields, new_id, target_path
from aimlapi_rest.api.images import generate_image
from aimlapi_rest.models import ImageGenerationRequest
from aimlapi_rest.types import UNSET

_OWN_ARGUMENTS = ("model", "prompt")
_FIELDS = {field.name for field in attrs.fields(ImageGenerationRequest)} - {"additional_properties"}


@attrs.frozen
class GenerationOrder(Order):
    """An order for an image made of words.

    Attributes:
        body: What is sent.
    """

    body: ImageGenerationRequest

    @property
    def prompt(self) -> str:
        return self.body.prompt

    @property
    def parameters(self) -> dict[str, Any]:
        fields = self.body.to_dict()
        del fields["prompt"]
        return fields

    def request(self, attempt: int) -> dict[str, Any]:
        # The generated module builds the request; its parser is left alone (see `responses`).
        return generate_image._get_kwargs(body=self.body, x_client_request_id=self.request_id(attempt))


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
        prompt: What the image is to show.
        model: The model's name. One that the schema does not describe is sent unchecked.
        parameters: Fields of the request by name; those that are `None` are not sent.
        options: More fields, for what the caller's signature does not name.
        to: Where to write the image; the extension will follow its format.
        order: The order's id; a new one if `None`.

    Raises:
        InvalidRequestError: The schema forbids it, it cannot be sent as JSON, or `to` cannot be written.
    """
    check_model(model)
    fields = join_fields(parameters, options, _OWN_ARGUMENTS)
    request = ImageGenerationRequest(
        model=cast(Any, model),
        prompt=prompt,
        **{name: fields.get(name, UNSET) for name in _FIELDS.difference(_OWN_ARGUMENTS)},
    )
    request.additional_properties = {name: value for name, value in fields.items() if name not in _FIELDS}
    body = request.to_dict()
    problems = schema.generation_problems(body)
    if model in schema.known_models():
        check_spelling(request.additional_properties, _FIELDS)
    else:
        problems = [each for each in problems if each.field == "prompt"]
    if problems:
        raise InvalidRequestError("; ".join(dict.fromkeys(problem.text for problem in problems)))
    check_json(body)
    new = GenerationOrder(id=new_id(order), to=target_path(to), body=request)
    new.check()
    return new
