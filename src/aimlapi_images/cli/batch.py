"""`aimlapi-images batch`, `reconcile` and `results`."""

from __future__ import annotations

import asyncio
import io
import json
import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from aimlapi_images.cli.emulator import base_url_option, emulated, emulator_option
from aimlapi_images.cli.fields import field_options, named_value
from aimlapi_images.cli.gallery import write_after_batch
from aimlapi_images.cli.process import FAILED, INTERRUPTED, USAGE, complain, drain_on_signals, fail, run
from aimlapi_images.orders import schema

if TYPE_CHECKING:
    from aimlapi_images.batch.display import Tally
    from aimlapi_images.batch.models import BatchEnded, BatchEvent
    from aimlapi_images.client import ImageClient
    from aimlapi_images.dispatch.budget import Budget

STOPPED: Final = 5

_RUN_OPTIONS: Final = ("skip_invalid", "retry_refused", "retry_lost", "adopt", "verify", "limit", "order")
_GRACE: Final = "An attempt that is older, and that the log does not list, counts as never received."
_transport = click.option("--transport", type=click.Choice(["httpx", "aiohttp"]), default="httpx", help="HTTP library.")


@click.command()
@click.argument("jobs", required=False)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder for the images.")
@click.option("--format", type=click.Choice(["txt", "csv", "jsonl"]), help="Format of JOBS. [default: its extension]")
@click.option("--model", help="The model of jobs that name none.")
@click.option("--field", "more", multiple=True, metavar="NAME=VALUE", help="Sent unchecked; VALUE may be JSON.")
@click.option("--dry-run", is_flag=True, help="Check the jobs, and say what a run would do and cost.")
@click.option("--limit", type=click.IntRange(1), help="The number of jobs to carry out at most.")
@click.option("--order", type=click.Choice(["listed", "random"]), default="listed", help="The order of the jobs.")
@click.option("--budget-usd", type=click.FloatRange(0), help="What the batch may cost, over all of its runs.")
@click.option("--requests-per-minute", type=click.FloatRange(0, min_open=True), help="Requests started per minute.")
@click.option("--max-concurrency", type=click.IntRange(1), default=16, show_default=True, help="Open requests.")
@click.option("--timeout", type=float, metavar="SECONDS", help="The time limit for one response. [default: 300]")
@click.option("--deadline", type=float, metavar="SECONDS", help="The time limit for a job. [default: none]")
@click.option("--attempts", type=int, default=4, show_default=True, help="Attempts; only unbilled ones are repeated.")
@click.option("--retry-refused", is_flag=True, help="Send jobs again that the API has refused.")
@click.option("--retry-lost", is_flag=True, help="Make images again that are paid for and lost: they cost again.")
@click.option("--skip-invalid", is_flag=True, help="Leave out invalid jobs, instead of refusing all.")
@click.option("--adopt", is_flag=True, help="Take images in the folder for made, if its state is lost.")
@click.option("--verify", is_flag=True, help="Read all images that are there, and compare them.")
@click.option("--no-gallery", is_flag=True, help="Write no gallery (index.html) at the end.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each event.")
@base_url_option
@_transport
@emulator_option
def batch(
    jobs: str | None, out: Path, quiet: bool, as_json: bool, dry_run: bool, no_gallery: bool, **options: Any
) -> int:
    """Make an image for each job in JOBS: a .txt, .csv or .jsonl file, or - for standard input.

    Run the same command again to go on after any interruption. Without JOBS, the stored jobs of the folder are carried
    on. Other options are fields of the request, for jobs that do not have them.

    Exit codes: 0 all done, 1 some failed, 2 usage error or invalid jobs, 5 stopped early.
    """
    from aimlapi_images.batch.display import Tally, show_json, show_lines, show_nothing, summary
    from aimlapi_images.batch.jobs import read_jobs
    from aimlapi_images.errors import ImageError

    chosen = {name: options.pop(name) for name in _RUN_OPTIONS}
    settings = {name: options.pop(name) for name in _SETTINGS}
    format_, more = options.pop("format"), options.pop("more")
    defaults = {name: value for name, value in options.items() if value is not None}
    chosen["defaults"] = defaults | ({"extra_body": dict(map(named_value, more))} if more else {})
    source = None if jobs is None else read_jobs(jobs, format=format_)
    work: _Work | None = None
    tally = Tally(budget_usd=settings.pop("budget_usd"))
    try:
        if dry_run:
            return _plan(source, out, chosen, as_json)
        with ExitStack() as stack:
            if quiet or as_json:
                show = (show_json if as_json else show_nothing)(tally)
            else:
                show = _live(tally, stack) or show_lines(tally)
            work = _Work(out, tally, show)
            code = run(work.carry_out(source, settings, chosen))
    except ImageError as error:
        return fail(error, as_json=as_json) and (STOPPED if work is not None and work.stop.is_set() else USAGE)
    except KeyboardInterrupt:
        complain(f"stopped; to go on: {_command()}")
        return STOPPED
    if not as_json and work.ended is not None and (code or not quiet):
        for line in summary(work.ended, shlex.quote(str(out)), _command()):
            click.echo(line)
    if work.ended is not None and tally.total and not no_gallery:
        write_after_batch(out, quiet=quiet or as_json)
    return code


_SETTINGS: Final = (
    *("base_url", "transport", "emulator", "budget_usd", "requests_per_minute", "max_concurrency"),
    *("timeout", "deadline", "attempts"),
)
batch.params[4:4] = field_options(schema.generation_request(), without=("model", "prompt", *schema.STREAMING))


def _live(tally: Tally, stack: ExitStack) -> Callable[[BatchEvent], None] | None:
    """A live display, if standard error is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    from aimlapi_images.batch.display import Live

    return stack.enter_context(Live(tally))


def _plan(jobs: Any, out: Path, options: Mapping[str, Any], as_json: bool) -> int:
    from aimlapi_images.batch.display import started
    from aimlapi_images.batch.runner import plan_batch

    plan = plan_batch(jobs, out=out, **options)
    if as_json:
        click.echo(json.dumps({**attrs.asdict(plan.start), "notices": plan.notices}))
        return 0
    click.echo("\n".join([*plan.notices, started(plan.start)]))
    if plan.start.estimate_usd is None:
        click.echo("the cost is not known: no earlier job of the same model, size and quality in this folder has one")
    return 0


class _Work:
    """One run of the command."""

    def __init__(self, out: Path, tally: Tally, show: Callable[[BatchEvent], None]) -> None:
        self.ended: BatchEnded | None = None
        self._out, self._tally, self._show = out, tally, show
        self.stop = asyncio.Event()

    async def carry_out(self, jobs: Any, settings: dict[str, Any], options: Mapping[str, Any]) -> int:
        from aimlapi_images.batch.models import Status
        from aimlapi_images.batch.runner import run_batch
        from aimlapi_images.errors import ImageError

        drain_on_signals(self.stop, f"to go on: {_command()}")
        async with _client(**settings, budget=self._budget()) as client:
            self._tally.client = client
            try:
                async for _ in run_batch(client, jobs, out=self._out, stop=self.stop, progress=self._told, **options):
                    pass
            except ImageError:
                if self.ended is None:
                    raise
        if self.ended is None or self.ended.stopped:
            return STOPPED
        undone = {status for status in self.ended.counts if status not in (Status.DONE, Status.PENDING)}
        return FAILED if undone else 0

    def _told(self, event: BatchEvent) -> None:
        from aimlapi_images.batch.models import BatchEnded

        if isinstance(event, BatchEnded):
            self.ended = event
        self._show(event)

    def _budget(self) -> Budget | None:
        from aimlapi_images.batch.results import budget_left

        usd = self._tally.budget_usd
        return None if usd is None else budget_left(self._out, usd)


def _client(
    *,
    transport: str,
    emulator: bool,
    attempts: int,
    timeout: float | None,
    budget: Budget | None = None,
    **settings: Any,
) -> ImageClient:
    from aimlapi_images.client import ImageClient
    from aimlapi_images.dispatch.retry import RetryPolicy

    if timeout is not None:
        settings["timeout"] = timeout
    if emulator:
        settings |= emulated()
    elif transport == "aiohttp":
        try:
            from aimlapi_images.api.aiohttp_transport import aiohttp_transport
        except ImportError as error:
            raise click.UsageError(str(error)) from error
        settings["transport"] = aiohttp_transport()
    return ImageClient(**settings, budget=budget, retry=RetryPolicy(attempts=attempts))


def _command() -> str:
    """This command line, for the user to run again."""
    return shlex.join(["aimlapi-images", *sys.argv[1:]])


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--grace", type=click.FloatRange(0), default=900.0, show_default=True, metavar="SECONDS", help=_GRACE)
@base_url_option
@_transport
@emulator_option
def reconcile(folder: Path, grace: float, **settings: Any) -> int:
    """Settle the unknown outcomes of the batch in FOLDER with the provider's log.

    Exit codes: 0 nothing is open, 1 some outcomes are still open, 2 usage error, 3 refused by the API, 4 network error.
    """
    from aimlapi_images.batch.display import settled
    from aimlapi_images.batch.reconciliation import Reconciled
    from aimlapi_images.batch.reconciliation import reconcile as settle
    from aimlapi_images.errors import ImageError

    async def work() -> Reconciled:
        async with _client(**settings, attempts=4, timeout=None) as client:
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
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--format", "format_", type=click.Choice(["jsonl", "csv", "parquet"]), default="jsonl", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write. [default: standard output]")
def results(folder: Path, format_: str, output: Path | None) -> int:
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
