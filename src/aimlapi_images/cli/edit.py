"""`aimlapi-images edit`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from aimlapi_images.cli.fields import field_options
from aimlapi_images.cli.ordering import STANDARD_STREAM, carry_out, ordering_options, read_prompt, split_options
from aimlapi_images.cli.process import read_stdin
from aimlapi_images.orders import schema

if TYPE_CHECKING:
    from aimlapi_images.client import ImageClient
    from aimlapi_images.models import GeneratedImage

_MAX_IMAGE_BYTES: Final = 64 * 2**20


class Box(click.ParamType[tuple[int, ...]]):
    """`X,Y,W,H` in pixels."""

    name = "X,Y,W,H"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Parse four integers. Whether they are inside the image is checked later."""
        try:
            numbers = tuple(int(each) for each in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != 4:
            self.fail(f"{value!r} is not left,top,width,height in pixels, such as 100,50,320,200", param, ctx)
        return numbers


@click.command()
@click.argument("words", metavar="[PROMPT] IMAGE...", nargs=-1, type=click.Path())
@click.option("-p", "--prompt", help="The prompt, in place of PROMPT.")
@click.option("--mask", type=click.Path(), help="A PNG whose transparent pixels mark what to redraw.")
@click.option("--mask-box", type=Box(), help="The rectangle to redraw: left, top, width, height in pixels.")
@ordering_options
def edit(
    words: tuple[str, ...], prompt: str | None, mask: str | None, mask_box: tuple[int, ...] | None, **options: Any
) -> int:
    """Edit IMAGE as PROMPT says, or combine up to 16 images into a new one. A mask applies to the first.

    The prompt, an image or the mask can be -, which reads it from standard input.

    Exit codes: 0 success, 2 usage error, 3 refused by the API, 4 network error or unknown outcome,
    130 interrupted.
    """
    if mask is not None and mask_box is not None:
        raise click.UsageError("--mask and --mask-box exclude each other")
    if not words:
        raise click.UsageError("Missing argument 'IMAGE...'.")
    if prompt is None:
        prompt, words = _split(words)
    if [prompt, *words, mask].count(STANDARD_STREAM) > 1:
        raise click.UsageError("standard input can be read once only")
    ordering, fields = split_options(options)
    text = read_prompt(prompt)
    images = [_image(each, "the image") for each in words]
    drawn = mask and _image(mask, "the mask")

    async def ask(client: ImageClient, **call: Any) -> GeneratedImage:
        from aimlapi_images.orders.mask import mask_from_box

        mask = drawn if mask_box is None else mask_from_box(images[0], mask_box)
        return await client.edit(text, image=images, mask=mask, **fields, **call)

    return carry_out(ordering, text, ask)


def _split(words: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The prompt and the images. A file is never taken for a prompt, which would cost money."""
    prompt, *images = words
    if not images or os.path.exists(prompt):  # noqa: PTH110 - a Path's method raises an error for a long prompt
        raise click.UsageError("give the prompt before the images, or as --prompt")
    return prompt, tuple(images)


def _image(name: str, what: str) -> Path | bytes:
    return read_stdin(what, _MAX_IMAGE_BYTES) if name == STANDARD_STREAM else Path(name)


edit.params[4:4] = field_options(schema.request("edits"), without=("model", "prompt"))
