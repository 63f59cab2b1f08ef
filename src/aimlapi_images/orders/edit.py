"""Orders for `POST /v1/images/edits`: images from other images."""

from collections.abc import Sequence
from typing import Any, Self

import attrs

from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.media.json_values import shown
from aimlapi_images.orders import schema
from aimlapi_images.orders.image_input import read_upload
from aimlapi_images.orders.mask import check_mask
from aimlapi_images.orders.order import Order
from aimlapi_images.orders.uploads import Upload, open_content
from aimlapi_images.threads import Threads


@attrs.frozen
class EditOrder(Order):
    """An order for an image from other images. The mask marks what to redraw in the first one."""

    images: tuple[Upload, ...] = ()
    mask: Upload | None = None

    ENDPOINT = "edits"
    RESERVED = ("model", "prompt", "image", "image[]", "mask")

    async def with_images(self, image: object, mask: object, threads: Threads) -> Self:
        """The same order with its images and mask, which `ImageClient.edit` describes, read and checked."""
        for name, value in self.fields.items():
            if not isinstance(value, str | int | float):
                raise InvalidRequestError(f"{name} must be text, a finite number, true or false, got {shown(value)}")
        images = await _read_images(image, threads)
        if mask is None:
            return attrs.evolve(self, images=images)
        marks = await read_upload(mask, "mask", schema.edit_files("mask"), threads)
        await threads.run(_check_mask, marks, images[0])
        return attrs.evolve(self, images=images, mask=marks)

    def request(self, request_id: str) -> dict[str, Any]:
        # Not built by the generated module, which reads whole files into memory. The parts are those that the
        # OpenAI SDK sends, in the same order.
        name = "image" if len(self.images) == 1 else "image[]"
        files = [(name, image.part()) for image in self.images]
        if self.mask:
            files.append(("mask", self.mask.part()))
        headers = {"X-Client-Request-Id": request_id}
        data = dict(sorted(self.fields.items(), key=lambda field: (field[0] != "prompt", field[0])))
        return {"method": "POST", "url": schema.EDITS_PATH, "headers": headers, "data": data, "files": files}


async def _read_images(image: Any, threads: Threads) -> tuple[Upload, ...]:
    rules = schema.edit_files("image[]")
    alone = isinstance(image, str | bytes | bytearray | memoryview) or not isinstance(image, Sequence)
    given = [image] if alone else list(image)
    if not 1 <= len(given) <= rules.at_most:
        raise InvalidRequestError(f"image must be one image or a list of 1 to {rules.at_most}, got {len(given)}")
    if len(given) == 1:
        return (await read_upload(given[0], "image", rules, threads),)
    return tuple([await read_upload(each, f"image {number}", rules, threads) for number, each in enumerate(given, 1)])


def _check_mask(mask: Upload, first: Upload) -> None:
    with open_content(mask.content) as file, open_content(first.content) as image:
        check_mask(file, mask.format, image, first.format)
