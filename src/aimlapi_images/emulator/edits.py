"""The emulator's `POST /v1/images/edits`."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import attrs
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from aimlapi_images.emulator.answers import ApiError, image_answer
from aimlapi_images.emulator.editing import edit
from aimlapi_images.emulator.generations import refuse, with_defaults
from aimlapi_images.emulator.painting import Picture, encode
from aimlapi_images.emulator.pictures import picture_of, price_of
from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.media.formats import ImageFormat
from aimlapi_images.orders import schema
from aimlapi_images.orders.image_input import check_file
from aimlapi_images.orders.mask import check_mask

EDITED_PATH: Final = "/edits/emulated"

# Edited images are kept encoded: their sources would take more memory.
_BYTES_KEPT: Final = 256 * 2**20


@attrs.define
class Edits:
    """The endpoint for edits, and the images that it made.

    Attributes:
        latency: Seconds that each edit takes, in addition to drawing.
    """

    latency: float = 0.0
    _kept: OrderedDict[str, bytes] = attrs.field(factory=OrderedDict, init=False, repr=False)

    async def edit(self, request: Request) -> Response:
        """Validate the request as the API does, and respond with a picture."""
        async with request.form(max_part_size=2**20) as form:
            fields = _read_fields(form)
            request.state.model = fields.get("model")
            asked = with_defaults(fields, schema.edit_request())
            files, mask = _files(form, "image"), _files(form, "mask")
            first = await run_in_threadpool(_check_files, files, mask)
            asked.setdefault("size", f"{first.width}x{first.height}")
            picture = picture_of(asked)
            await asyncio.sleep(self.latency)
            data = await run_in_threadpool(_draw, files, mask, picture)
        if asked["response_format"] == "b64_json":
            entry = {"b64_json": base64.b64encode(data).decode("ascii")}
        else:
            entry = {"url": str(request.base_url).rstrip("/") + self._keep(data, picture.output_format)}
        return image_answer(request, [entry] * asked["n"], asked, asked["n"] * price_of(asked))

    async def image(self, request: Request) -> Response:
        """Serve an image by its URL, without a key, as a CDN does."""
        name = request.path_params["name"]
        if name not in self._kept:
            raise ApiError(404, "There is no such image, or it has expired.")
        return Response(self._kept[name], media_type=f"image/{name.rpartition('.')[2]}")

    def _keep(self, data: bytes, output_format: str) -> str:
        """Store an image, drop the oldest, and return its path."""
        name = f"{hashlib.sha256(data).hexdigest()[:32]}.{output_format}"
        self._kept[name] = data
        self._kept.move_to_end(name)
        while len(self._kept) > 1 and sum(map(len, self._kept.values())) > _BYTES_KEPT:
            self._kept.popitem(last=False)
        return f"{EDITED_PATH}/{name}"


def _read_fields(form: FormData) -> dict[str, Any]:
    """Read the text fields, and convert integers."""
    known = schema.edit_request()["properties"]
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            fields[name] = value
            if schema.field_type(known.get(name, {})) == "integer" and value.removeprefix("-").isdecimal():
                fields[name] = int(value)
    refuse(schema.edit_problems(fields), fields, schema.edit_models())
    return fields


def _files(form: FormData, name: str) -> list[UploadFile]:
    """The files of a field; several files may be sent as `name[]`."""
    given = [*form.getlist(name), *form.getlist(f"{name}[]")]
    if any(isinstance(each, str) for each in given):
        raise _wrong(name, "Expected a file, received text")
    return [each for each in given if isinstance(each, UploadFile)]


def _check_files(files: Sequence[UploadFile], masks: Sequence[UploadFile]) -> ImageFormat:
    """Validate the files as the API does, and return the format of the first image."""
    rules = schema.edit_files("image[]")
    if not files:
        raise _wrong("image", "Required")
    if len(files) > rules.at_most:
        raise _wrong("image", f"Array must contain at most {rules.at_most} element(s)")
    images = [_check_file("image", each, rules) for each in files]
    if len(masks) > 1:
        raise _wrong("mask", "Expected one file")
    for each in masks:
        mask = _check_file("mask", each, schema.edit_files("mask"))
        try:
            check_mask(each.file, mask, files[0].file, images[0])
        except InvalidRequestError as error:
            raise _wrong("mask", str(error)) from error
    return images[0]


def _check_file(field: str, file: UploadFile, rules: schema.FileRules) -> ImageFormat:
    """Validate a file by its declared media type and by its bytes."""
    media_types = [f"image/{each}" for each in rules.formats]
    if file.content_type not in media_types:
        said = f"Invalid file '{field}': unsupported mimetype ('{file.content_type}')."
        raise _wrong(field, f"{said} Supported file formats are {', '.join(map(repr, media_types))}.")
    try:
        return check_file(file.file, file.size or 0, rules)
    except ValueError as error:
        raise _wrong(field, f"Invalid file '{field}': it {error}.") from error


def _draw(files: Sequence[UploadFile], masks: Sequence[UploadFile], picture: Picture) -> bytes:
    try:
        image = edit([each.file for each in files], masks[0].file if masks else None, picture)
    except (OSError, ValueError, SyntaxError) as error:
        raise _wrong("image", f"Invalid file 'image': it cannot be decoded: {error}.") from error
    return encode(image, picture)


def _wrong(field: str, message: str) -> HTTPException:
    return ApiError(400, "Body validation error!", [{"message": message, "path": [field]}])
