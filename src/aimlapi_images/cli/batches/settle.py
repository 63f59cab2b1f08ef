"""`aimlapi-images reconcile` and `results`."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import click

from aimlapi_images.cli.batches.batch import make_client, transport_option
from aimlapi_images.cli.emulator import base_url_option, emulator_option
from aimlapi_images.cli.process import FAILED, INTERRUPTED, fail, run


@click.command()
@click.argument("folder")
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=900.0,
    show_default=True,
    metavar="SECONDS",
    help="An attempt that is older, and that the log does not list, counts as never received.",
)
@base_url_option
@transport_option
@emulator_option
def reconcile(folder: str, grace: float, **settings: Any) -> int:
    """Settle the unknown outcomes of the batch in FOLDER with the provider's log.

    Exit codes: 0 nothing is open, 1 some outcomes are still open, 2 usage error, 3 refused by the API, 4 network error.
    """
    from aimlapi_images.batch.display import settled
    from aimlapi_images.batch.reconciliation import Reconciled
    from aimlapi_images.batch.reconciliation import reconcile as settle
    from aimlapi_images.errors import ImageError

    async def work() -> Reconciled:
        async with make_client(**settings, attempts=4, timeout=None) as client:
            return await settle(client, folder, grace=grace)

    try:
        found = run(work())
    except ImageError as error:
        return fail(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    for line in settled(found):
        click.echo(line)
    return FAILED if found.open else 0


@click.command()
@click.argument("folder")
@click.option("--format", "format_", type=click.Choice(["jsonl", "csv", "parquet"]), default="jsonl", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write. [default: standard output]")
def results(folder: str, format_: str, output: Path | None) -> int:
    """Print the results of the batch in FOLDER, also while it runs."""
    from aimlapi_images.batch.results import export_results, print_export
    from aimlapi_images.errors import ImageError

    if output is None and format_ == "parquet":
        raise click.UsageError("Parquet is not for a terminal: give -o FILE")
    try:
        if output is not None:
            export_results(folder, output, format=format_)
        else:
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(encoding="utf-8")  # as in a file, whatever the locale
            print_export(folder, format_, sys.stdout)
    except ImageError as error:
        return fail(error)
    return 0
