"""`aimlapi-images edit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aimlapi_images.cli.fields import field_options
from aimlapi_images.cli.ordering import carry_out, ordering_options, read_prompt, split_options
from aimlapi_images.orders import schema

if TYPE_CHECKING:
    from aimlapi_images.client import ImageClient
    from aimlapi_images.models import GeneratedImage


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
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-p", "--prompt", required=True, help="A description of the result; - reads it from standard input.")
@click.option("--mask", type=click.Path(path_type=Path), help="A PNG whose transparent pixels mark what to redraw.")
@click.option("--mask-box", type=Box(), help="The rectangle to redraw: left, top, width, height in pixels.")
@ordering_options
def edit(
    images: tuple[Path, ...], prompt: str, mask: Path | None, mask_box: tuple[int, ...] | None, **options: Any
) -> int:
    """Edit IMAGE, or combine up to 16 images into a new one. A mask applies to the first.

    Exit codes: 0 success, 2 usage error, 3 refused by the API, 4 network error or unknown outcome,
    130 interrupted.
    """
    if mask is not None and mask_box is not None:
        raise click.UsageError("--mask and --mask-box exclude each other")
    text = read_prompt(prompt)
    ordering, fields = split_options(options)

    async def ask(client: ImageClient, **call: Any) -> GeneratedImage:
        from aimlapi_images.orders.mask import mask_from_box

        drawn = mask if mask_box is None else mask_from_box(images[0], mask_box)
        return await client.edit(text, image=images, mask=drawn, **fields, **call)

    return carry_out(ordering, text, ask)


edit.params[4:4] = field_options(schema.edit_request(), without=("model", "prompt"))
