"""`aimlapi-images generate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from aimlapi_images import schema
from aimlapi_images.cli.fields import field_options, format_asked_by
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
    fields = {**format_asked_by(ordering.output, schema.generation_request()), **fields}

    async def ask(client: ImageClient, **call: Any) -> GeneratedImage:
        return await client.generate(prompt, options=fields, **call)

    return carry_out(ordering, prompt, ask)


generate.params[2:2] = field_options(schema.generation_request(), without=("model", "prompt"))
