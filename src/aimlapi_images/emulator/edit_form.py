"""What a request to `POST /v1/images/edits` asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from aimlapi_images.emulator.drawing.edited import edit
from aimlapi_images.emulator.drawing.picture import Picture, encode
from aimlapi_images.emulator.generation_body import Asked, limited
from aimlapi_images.emulator.picture_fields import picture_of, price_of
from aimlapi_images.emulator.settings import Settings
from aimlapi_images.emulator.validation import body_error, check, form_integer, with_defaults
from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.media.formats import ImageFormat
from aimlapi_images.orders import schema
from aimlapi_images.orders.image_input import check_file
from aimlapi_images.orders.mask import check_mask

_FILES: Final = ("image", "image[]", "mask", "mask[]")
# 16 images of 50 MB and a mask, which are kept on disk while they are read.
_MAX_BODY: Final = 810_000_000


@asynccontextmanager
async def read_edit(request: Request, settings: Settings) -> AsyncIterator[Asked]:
    """Validate the form as the API does. Its files are closed when the block ends.

    Raises:
        ApiError: It is not valid.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise body_error("Expected multipart/form-data")
    async with limited(request, _MAX_BODY).form(max_files=32, max_fields=100, max_part_size=2**20) as form:
        fields = _read_fields(form)
        request.state.model = fields.get("model")
        check(schema.problems("edits", fields), fields, schema.request("edits"), schema.models("edits"))
        files, masks = _files(form, "image"), _files(form, "mask")
        first = await run_in_threadpool(_check_files, files, masks)
        fields = with_defaults(fields, schema.request("edits"))
        fields.setdefault("size", _size_like(first))
        pictures = [picture_of(fields, number, plain=settings.drawing == "plain") for number in range(fields["n"])]

        async def make(pictures: Sequence[Picture]) -> list[Picture | bytes]:
            return [await run_in_threadpool(_draw, files, masks, picture) for picture in pictures]

        yield Asked(fields, pictures, round(price_of(fields) * len(pictures), 6), make)


def _read_fields(form: FormData) -> dict[str, Any]:
    """Read the text fields, and convert integers."""
    known = schema.request("edits")["properties"]
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        if isinstance(value, str) and name not in _FILES:
            integer = schema.field_type(known.get(name, {})) == "integer"
            fields[name] = form_integer(value) if integer else value
        elif name not in _FILES:
            raise body_error("Expected text, received a file", [name])
    return fields


def _files(form: FormData, name: str) -> list[UploadFile]:
    """The files of a field; several files may be sent as `name[]`."""
    given = [*form.getlist(name), *form.getlist(f"{name}[]")]
    if any(isinstance(each, str) for each in given):
        raise body_error("Expected a file, received text", [name])
    return [each for each in given if isinstance(each, UploadFile)]


def _check_files(files: Sequence[UploadFile], masks: Sequence[UploadFile]) -> ImageFormat:
    """Validate the files as the API does, and return the format of the first image."""
    rules = schema.edit_files("image[]")
    if not files:
        raise body_error("Required", ["image"])
    if len(files) > rules.at_most:
        raise body_error(f"Array must contain at most {rules.at_most} element(s)", ["image"])
    images = [_check_file("image", each, rules) for each in files]
    if len(masks) > 1:
        raise body_error("Expected one file", ["mask"])
    for each in masks:
        mask = _check_file("mask", each, schema.edit_files("mask"))
        try:
            check_mask(each.file, mask, files[0].file, images[0])
        except InvalidRequestError as error:
            raise body_error(str(error), ["mask"]) from error
    return images[0]


def _check_file(field: str, file: UploadFile, rules: schema.FileRules) -> ImageFormat:
    """Validate a file by its declared media type and by its bytes."""
    media_types = [f"image/{each}" for each in rules.formats]
    if file.content_type not in media_types:
        said = f"Invalid file '{field}': unsupported mimetype ('{file.content_type}')."
        raise body_error(f"{said} Supported file formats are {', '.join(map(repr, media_types))}.", [field])
    try:
        return check_file(file.file, file.size or 0, rules)
    except ValueError as error:
        raise body_error(f"Invalid file '{field}': it {error}.", [field]) from error


def _size_like(image: ImageFormat) -> str:
    """The size of the model whose proportions are the nearest to an image's."""
    sizes: list[str] = [
        size for size in schema.field_values(schema.request("edits")["properties"]["size"]) if "x" in size
    ]
    wanted = image.width / image.height

    def distance(size: str) -> float:
        width, _, height = size.partition("x")
        ratio = int(width) / int(height)
        return max(ratio / wanted, wanted / ratio)

    return min(sizes, key=distance)


def _draw(files: Sequence[UploadFile], masks: Sequence[UploadFile], picture: Picture) -> bytes:
    try:
        image = edit([each.file for each in files], masks[0].file if masks else None, picture)
    except (OSError, ValueError, SyntaxError) as error:
        raise body_error(f"Invalid file 'image': it cannot be decoded: {error}.", ["image"]) from error
    return encode(image, picture)
