"""Orders for images made of images: `POST /v1/images/edits`."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.orders import schema
from aimlapi_images.orders.image_input import read_upload
from aimlapi_images.orders.mask import check_mask
from aimlapi_images.orders.order import (
    Order,
    check_model,
    check_spelling,
    format_asked_by,
    join_fields,
    new_id,
    target_path,
)
from aimlapi_images.orders.uploads import Upload, open_content

_OWN_ARGUMENTS = ("model", "prompt", "image", "image[]", "mask")


@attrs.frozen
class EditOrder(Order):
    """An order for an image made of images.

    Attributes:
        fields: The text fields.
        images: The images to edit or to refer to; the first one is the one that a mask is for.
        mask: What of it is to be drawn anew, or `None`.
    """

    fields: Mapping[str, Any]
    images: tuple[Upload, ...]
    mask: Upload | None

    @property
    def prompt(self) -> str:
        return str(self.fields["prompt"])

    @property
    def parameters(self) -> dict[str, Any]:
        return {name: value for name, value in self.fields.items() if name != "prompt"}

    def request(self, attempt: int) -> dict[str, Any]:
        # Not built by the generated module, which reads whole files into memory. The parts are those that the
        # OpenAI SDK sends, in the same order.
        name = "image" if len(self.images) == 1 else "image[]"
        files = [(name, image.part()) for image in self.images]
        if self.mask:
            files.append(("mask", self.mask.part()))
        headers = {"X-Client-Request-Id": self.request_id(attempt)}
        return {
            "method": "POST",
            "url": schema.EDITS_PATH,
            "headers": headers,
            "data": {name: _as_text(name, value) for name, value in self.fields.items()},
            "files": files,
        }


async def new_edit(
    prompt: str,
    image: object,
    *,
    mask: object = None,
    model: str,
    parameters: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    to: str | os.PathLike[str] | None = None,
    order: str | None = None,
) -> EditOrder:
    """Check what a caller asks for, read the images, and make it an order.

    Args:
        prompt: What the image is to become.
        image: One image or a list of them; see `inputs.ImageInput`.
        mask: What of the first one is to be drawn anew, or `None`.
        model: The model's name. The fields of one that the schema does not describe are sent unchecked.
        parameters: Text fields of the request by name; those that are `None` are not sent.
        options: More of them, for what the caller's signature does not name.
        to: Where to write the image. Its extension says the format, if no field does, and follows it otherwise.
        order: The order's id; a new one if `None`.

    Raises:
        InvalidRequestError: The request, an image or the mask cannot be right, or `to` cannot be written.
    """
    check_model(model)
    others = join_fields({**parameters, "model": model}, options, _OWN_ARGUMENTS)
    path = target_path(to)
    if model in schema.edit_models() and "output_format" not in others:
        others |= format_asked_by(path, model, schema.edit_request())
    fields = {"prompt": prompt, **{name: others[name] for name in sorted(others)}}
    _check_fields(fields, model)
    new = EditOrder(id=new_id(order), to=path, fields=fields, images=(), mask=None)
    new.check()
    images = await _read_images(image)
    return attrs.evolve(new, images=images, mask=None if mask is None else await _read_mask(mask, images[0]))


def _check_fields(fields: Mapping[str, Any], model: str) -> None:
    problems = schema.edit_problems(fields)
    if model in schema.edit_models():
        known = schema.edit_request()["properties"]
        check_spelling([name for name in fields if name not in known], known)
    else:
        problems = [each for each in problems if each.field == "prompt"]
    if problems:
        raise InvalidRequestError("; ".join(dict.fromkeys(problem.text for problem in problems)))
    for name, value in fields.items():
        try:
            (name + _as_text(name, value)).encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidRequestError(f"{name} cannot be sent as UTF-8: {error}") from error


def _as_text(name: str, value: object) -> str:
    """A field's value, as forms have it."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() if math.isfinite(value):
            return str(value)
    raise InvalidRequestError(f"{name} is {value!r}, and a form's field has to be text, a number, true or false")


async def _read_images(image: Any) -> tuple[Upload, ...]:
    rules = schema.edit_files("image[]")
    alone = isinstance(image, str | bytes | bytearray | memoryview) or not isinstance(image, Sequence)
    given = [image] if alone else list(image)
    if not 1 <= len(given) <= rules.at_most:
        raise InvalidRequestError(f"image is a list of {len(given)}, and has to be one of 1 to {rules.at_most} images")
    labels = ["image"] if len(given) == 1 else [f"image {number}" for number in range(1, len(given) + 1)]
    return tuple([await read_upload(each, label, rules) for each, label in zip(given, labels, strict=True)])


async def _read_mask(mask: object, first: Upload) -> Upload:
    upload = await read_upload(mask, "mask", schema.edit_files("mask"))
    await asyncio.to_thread(_check_mask, upload, first)
    return upload


def _check_mask(mask: Upload, first: Upload) -> None:
    with open_content(mask.content) as file:
        check_mask(file, mask.format, first.format)
