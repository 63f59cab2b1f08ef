"""`aimlapi-images generate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aimlapi_images import schema
from aimlapi_images.cli.fields import field_options
from aimlapi_images.cli.ordering import carry_out, ordering_options, split_options

if TYPE_CHECKING:
    from aimlapi_images.client import ImageClient
    from aimlapi_images.images import GeneratedImage


@click.command()
@click.argument("prompt")
@ordering_options
def generate(prompt: str, **options: Any) -> int:
    """Generate one image from PROMPT.

    Exit codes: 0 done, 2 usage, 3 refused by the API, 4 network trouble or unknown outcome.
    """
    ordering, fields = split_options(options)
    if ordering.output is not None:
        fields = {**_format_of(ordering.output), **fields}

    async def ask(client: ImageClient, **call: Any) -> GeneratedImage:
        return await client.generate(prompt, options=fields, **call)

    return carry_out(ordering, prompt, ask)


generate.params[2:2] = field_options(schema.generation_request(), without=("model", "prompt"))


def _format_of(output: Path) -> dict[str, str]:
    """`-o fox.jpg` asks for a JPEG, where the schema has that format and no option says otherwise."""
    from aimlapi_images.formats import format_of

    name = format_of(output)
    known = schema.generation_request()["properties"].get("output_format", {}).get("enum", ())
    return {"output_format": name} if name and name in known else {}
