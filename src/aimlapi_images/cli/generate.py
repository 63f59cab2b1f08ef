"""`aimlapi-images generate`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from aimlapi_images.cli.fields import field_options
from aimlapi_images.cli.ordering import carry_out, ordering_options, read_prompt, split_options
from aimlapi_images.orders import schema

if TYPE_CHECKING:
    from aimlapi_images.client import ImageClient
    from aimlapi_images.models import GeneratedImage

_FIELDS, _MODEL = "aimlapi_images.fields", "aimlapi_images.model"


class ModelCommand(click.Command):
    """A command whose options are the fields of the model given with `--model`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_MODEL] = _model_in(args)
        ctx.meta[_FIELDS] = self._fields(ctx.meta[_MODEL])
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        params = super().get_params(ctx)
        return [*params[:3], *(ctx.meta.get(_FIELDS) or self._fields(None)), *params[3:]]

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        model = ctx.meta.get(_MODEL)
        if model is not None and model not in schema.models("generations"):
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(
                    f"No schema is stored for {model}: `--field NAME=VALUE` is sent unchecked, and the "
                    f"other options are those of {schema.models('generations')[0]}."
                )

    def _fields(self, model: str | None) -> list[click.Parameter]:
        taken = ["prompt", *schema.STREAMING, *(param.name or "" for param in self.params)]
        return field_options(schema.request("generations", model), without=taken)


@click.command(cls=ModelCommand)
@click.argument("words", metavar="[PROMPT]", required=False)
@click.option("-p", "--prompt", help="The prompt, in place of PROMPT.")
@ordering_options
def generate(words: str | None, prompt: str | None, **options: Any) -> int:
    """Generate one image from PROMPT; - reads it from standard input.

    The options are the fields of the model: `--model MODEL --help` shows those of another model.

    Exit codes: 0 success, 2 usage error, 3 refused by the API, 4 network error or unknown outcome,
    130 interrupted.
    """
    if words is not None and prompt is not None:
        raise click.UsageError("give the prompt once: as PROMPT or as --prompt")
    given = words if prompt is None else prompt
    if given is None:
        raise click.UsageError("Missing argument 'PROMPT'.")
    ordering, fields = split_options(options)
    text = read_prompt(given)

    async def ask(client: ImageClient, **call: Any) -> GeneratedImage:
        return await client.generate(text, **fields, **call)

    return carry_out(ordering, text, ask)


def _model_in(arguments: Sequence[str]) -> str | None:
    """Find the model in a command line. It decides which options there are, so it is needed before parsing."""
    found = None
    for argument, following in itertools.zip_longest(arguments, arguments[1:]):
        if argument == "--":
            break
        if argument == "--model":
            found = following
        elif argument.startswith("--model="):
            found = argument.removeprefix("--model=")
    return found
