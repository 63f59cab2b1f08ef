"""`aimlapi-images balance` and `aimlapi-images logs`."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from aimlapi_images.cli.emulator import base_url_option, emulated, emulator_option
from aimlapi_images.cli.process import fail, run

if TYPE_CHECKING:
    from aimlapi_images.client import ImageClient
    from aimlapi_images.models import LogEntry

F = TypeVar("F", bound=Callable[..., Any])


def _shared_options(function: F) -> F:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line."),
        emulator_option,
        base_url_option,
    ):
        function = option(function)
    return function


@click.command()
@_shared_options
def balance(base_url: str | None, emulator: bool, as_json: bool) -> int:
    """Print the remaining balance of the account.

    Exit codes: 0 success, 2 usage error, 3 refused by the API, 4 network error.
    """

    async def ask(client: ImageClient) -> None:
        found = await client.balance()
        if as_json:
            click.echo(json.dumps(attrs.asdict(found)))
        else:
            amount = "unknown" if found.amount is None else f"{found.amount:,.2f}"
            click.echo(" ".join(filter(None, [amount, found.currency])))

    return _carry_out(ask, base_url, emulator, as_json)


@click.command()
@click.option("--period", help="A named time span of the API, in place of --since.")
@click.option("--since", type=click.DateTime(), help="Start, in local time; at most 92 days ago.")
@click.option("--until", type=click.DateTime(), help="End, in local time. [default: now]")
@click.option("--status", type=click.Choice(["succeeded", "failed"]), help="Only requests that ended so.")
@click.option("--model", help="Only requests for this model.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="The number of requests.")
@_shared_options
def logs(base_url: str | None, emulator: bool, as_json: bool, limit: int, **narrowed: Any) -> int:
    """Print the latest requests in the provider's log: time, status, model, cost, client request id.

    Exit codes: 0 success, 2 usage error, 3 refused by the API, 4 network error.
    """
    since: datetime | None = narrowed.pop("since")
    until: datetime | None = narrowed.pop("until")

    async def ask(client: ImageClient) -> None:
        left = limit
        async for page in client.log_pages(start=since, end=until, limit=min(limit, 100), **narrowed):
            for entry in page.entries[:left]:
                click.echo(json.dumps(attrs.asdict(entry)) if as_json else _line(entry))
            left -= len(page.entries)
            if left <= 0:
                break

    return _carry_out(ask, base_url, emulator, as_json)


def _line(entry: LogEntry) -> str:
    cost = "cost unknown" if entry.usage.usd_spent is None else f"${entry.usage.usd_spent:.4f}"
    names = (entry.created, entry.status, entry.model, cost, entry.client_request_id)
    return "  ".join(name or "-" for name in names)


def _carry_out(
    ask: Callable[[ImageClient], Coroutine[Any, Any, None]], base_url: str | None, emulator: bool, as_json: bool
) -> int:
    from aimlapi_images.client import ImageClient
    from aimlapi_images.errors import ImageError

    async def work() -> None:
        async with ImageClient(**{"base_url": base_url, **(emulated() if emulator else {})}) as client:
            await ask(client)

    try:
        run(work())
    except ImageError as error:
        return fail(error, as_json=as_json)
    return 0
