"""`aimlapi-images batch`."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from aimlapi_images.cli.batches.gallery import write_after_batch
from aimlapi_images.cli.emulator import base_url_option, emulated, emulator_option
from aimlapi_images.cli.fields import field_options, named_value
from aimlapi_images.cli.process import FAILED, USAGE, complain, drain_on_signals, fail, run
from aimlapi_images.orders import schema

if TYPE_CHECKING:
    from aimlapi_images.batch.display import Tally
    from aimlapi_images.batch.models import BatchEnded, BatchEvent
    from aimlapi_images.client import ImageClient
    from aimlapi_images.dispatch.budget import Budget

STOPPED: Final = 5

# The options for `run_batch` and, further below, for the client. What is in neither list is a field of all jobs.
_RUN_OPTIONS: Final = ("skip_invalid", "retry_refused", "retry_lost", "adopt", "verify", "limit", "order", "state")
transport_option = click.option(
    "--transport", type=click.Choice(["httpx", "aiohttp"]), default="httpx", help="HTTP library."
)


@click.command()
@click.argument("jobs", required=False)
@click.option("--out", required=True, metavar="FOLDER", help="For the images: a folder, or a URL such as s3://a/b.")
@click.option("--state", type=click.Path(path_type=Path), help="The folder for the state, if --out is a URL.")
@click.option("--dask", metavar="ADDRESS", help="A Dask scheduler, whose workers fetch the images, if --out is a URL.")
@click.option(
    "--format",
    type=click.Choice(["txt", "csv", "jsonl", "parquet"]),
    help="Format of JOBS. [default: its extension]",
)
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
@transport_option
@emulator_option
def batch(
    jobs: str | None, out: str, quiet: bool, as_json: bool, dry_run: bool, no_gallery: bool, **options: Any
) -> int:
    """Make an image for each job in JOBS: a .txt, .csv, .jsonl or .parquet file, or - for standard input.

    Run the same command again to go on after any interruption. Without JOBS, the stored jobs of the folder are carried
    on. Other options are fields of the request, for jobs that do not have them.

    Exit codes: 0 all done, 1 some failed, 2 usage error or invalid jobs, 5 stopped early.
    """
    from aimlapi_images.batch.cloud.bucket import is_url
    from aimlapi_images.batch.display import Tally, show_json, show_lines, show_nothing, summary
    from aimlapi_images.batch.reading.jobs import read_jobs
    from aimlapi_images.errors import ImageError

    dask = options.pop("dask")
    if dask is not None and options["emulator"]:
        raise click.UsageError("--dask needs an API that its workers reach: run aimlapi-images emulator beside it")
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
            work = _Work(out, dask, tally, show)
            code = run(work.carry_out(source, settings, chosen))
    except ImageError as error:
        return fail(error, as_json=as_json) and (STOPPED if work is not None and work.stop.is_set() else USAGE)
    except KeyboardInterrupt:
        complain(f"stopped; to go on: {_command()}")
        return STOPPED
    if not as_json and work.ended is not None and (code or not quiet):
        for line in summary(work.ended, shlex.quote(str(chosen["state"] or out)), _command()):
            click.echo(line)
    if work.ended is not None and tally.total and not no_gallery and not is_url(out):
        write_after_batch(Path(out), sum(work.ended.counts.values()), quiet=quiet or as_json)
    return code


_SETTINGS: Final = (
    *("base_url", "transport", "emulator", "budget_usd", "requests_per_minute", "max_concurrency"),
    *("timeout", "deadline", "attempts"),
)
batch.params[4:4] = field_options(schema.request("generations"), without=("model", "prompt", *schema.STREAMING))


def _live(tally: Tally, stack: ExitStack) -> Callable[[BatchEvent], None] | None:
    """A live display, if standard error is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    from aimlapi_images.batch.display import Live

    return stack.enter_context(Live(tally))


def _plan(jobs: Any, out: str, options: Mapping[str, Any], as_json: bool) -> int:
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

    def __init__(self, out: str, dask: str | None, tally: Tally, show: Callable[[BatchEvent], None]) -> None:
        self.ended: BatchEnded | None = None
        self._out, self._dask, self._tally, self._show = out, dask, tally, show
        self.stop = asyncio.Event()

    async def carry_out(self, jobs: Any, settings: dict[str, Any], options: Mapping[str, Any]) -> int:
        from aimlapi_images.batch.cloud.cluster import Cluster
        from aimlapi_images.batch.models import Status
        from aimlapi_images.batch.runner import run_batch
        from aimlapi_images.errors import ImageError

        drain_on_signals(self.stop, f"to go on: {_command()}")
        async with (
            make_client(**settings, budget=self._budget(options["state"])) as client,
            nullcontext() if self._dask is None else Cluster(self._dask) as cluster,
        ):
            self._tally.client = client
            run_options = {**options, "cluster": cluster, "stop": self.stop, "progress": self._told}
            try:
                async for _ in run_batch(client, jobs, out=self._out, **run_options):
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

    def _budget(self, state: Path | None) -> Budget | None:
        from aimlapi_images.batch.results import budget_left

        usd = self._tally.budget_usd
        return None if usd is None else budget_left(state or self._out, usd)


def make_client(
    *,
    transport: str,
    emulator: bool,
    attempts: int,
    timeout: float | None,
    budget: Budget | None = None,
    **settings: Any,
) -> ImageClient:
    """A client with the settings of the command line."""
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
