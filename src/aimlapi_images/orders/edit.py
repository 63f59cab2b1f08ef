"""Orders for `POST /v1/images/edits`: images from other images."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.orders import schema
from aimlapi_images.orders.image_input import read_upload
from aimlapi_images.orders.mask import check_mask
from aimlapi_images.orders.order import (
    Order,
    absolute,
    as_path,
    check_problems,
    check_spelling,
    collect_fields,
    order_id,
    plain_copy,
)
from aimlapi_images.orders.schema_messages import shown
from aimlapi_images.orders.uploads import Upload, open_content
from aimlapi_images.threads import Threads

_RESERVED: Final = ("model", "prompt", "image", "image[]", "mask")


@attrs.frozen
class EditOrder(Order):
    """An order for an image from other images.

    Attributes:
        fields: The text fields of the form.
        images: The images to edit or to refer to. A mask applies to the first one.
        mask: Marks what to redraw in the first image, or `None`.
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
        form = {"data": dict(self.fields), "files": files}
        return {"method": "POST", "url": schema.EDITS_PATH, "headers": headers, **form}


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
    threads: Threads,
) -> EditOrder:
    """Check the caller's arguments, read the images and build an order.

    Args:
        prompt: What the image is to become.
        image: One image or a list of them; see `image_input.ImageInput`.
        mask: Marks what to redraw in the first image, or `None`.
        model: The model's name. Fields for a model that the schema does not describe are sent unchecked.
        parameters: Text fields of the form by name; those that are `None` are not sent.
        options: Further text fields, by name.
        to: Where to write the image. Its extension sets the format if no field does, and otherwise follows it.
        order: The order's id; a new one if `None`.
        threads: Where images are read and checked.

    Raises:
        InvalidRequestError: The request, an image or the mask is not valid, or `to` cannot be written.
    """
    described = model in schema.edit_models()
    request = schema.edit_request() if described else None
    given = None if to is None else as_path(to, "to")
    fields = collect_fields(model, parameters, options, reserved=_RESERVED, to=given, request=request)
    fields = {"prompt": prompt, **dict(sorted({**fields, "model": model}.items()))}
    if request is not None:
        check_spelling(fields, request["properties"])
    check_problems(schema.edit_problems(fields), described=described)
    _check_values(fields)
    new = EditOrder(
        id=order_id(order),
        to=given and absolute(given),
        to_given=given,
        fields=plain_copy(fields),
        images=(),
        mask=None,
    )
    new.check()  # before any file is read
    images = await _read_images(image, threads)
    return attrs.evolve(new, images=images, mask=await _read_mask(mask, images[0], threads))


def _check_values(fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
            raise InvalidRequestError(f"{name} must be text, a finite number, true or false, got {shown(value)}")


async def _read_images(image: Any, threads: Threads) -> tuple[Upload, ...]:
    rules = schema.edit_files("image[]")
    alone = isinstance(image, str | bytes | bytearray | memoryview) or not isinstance(image, Sequence)
    given = [image] if alone else list(image)
    if not 1 <= len(given) <= rules.at_most:
        raise InvalidRequestError(f"image must be one image or a list of 1 to {rules.at_most}, got {len(given)}")
    labels = ["image"] if len(given) == 1 else [f"image {number}" for number in range(1, len(given) + 1)]
    return tuple([await read_upload(each, label, rules, threads) for each, label in zip(given, labels, strict=True)])


async def _read_mask(mask: object, first: Upload, threads: Threads) -> Upload | None:
    if mask is None:
        return None
    upload = await read_upload(mask, "mask", schema.edit_files("mask"), threads)
    await threads.run(_check_mask, upload, first)
    return upload


def _check_mask(mask: Upload, first: Upload) -> None:
    with open_content(mask.content) as file:
        check_mask(file, mask.format, first.format)
