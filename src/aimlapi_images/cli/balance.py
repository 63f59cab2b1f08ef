"""`aimlapi-images balance`."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import click

from aimlapi_images.cli.emulator import emulated
from aimlapi_images.cli.exit_codes import INTERRUPTED, complain, exit_code

if TYPE_CHECKING:
    from aimlapi_images.models import Balance


@click.command()
@click.option("--base-url", metavar="URL", help="The base URL of the API. [default: https://api.aimlapi.com]")
@click.option("--emulator", is_flag=True, help="Use a local emulator: no key, no network.")
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object.")
def balance(base_url: str | None, emulator: bool, json_wanted: bool) -> int:
    """Print the remaining balance of the account.

    Exit codes: 0 success, 2 usage error, 3 refused by the API, 4 network error.
    """
    from aimlapi_images import errors

    try:
        found = asyncio.run(_ask({"base_url": base_url, **(emulated() if emulator else {})}))
    except errors.ImageError as error:
        complain(str(error))
        return exit_code(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    if json_wanted:
        click.echo(json.dumps({"amount": found.amount, "currency": found.currency}))
    else:
        amount = "unknown" if found.amount is None else f"{found.amount:,.2f}"
        click.echo(" ".join(filter(None, [amount, found.currency])))
    return 0


async def _ask(settings: dict[str, Any]) -> Balance:
    from aimlapi_images.client import ImageClient

    async with ImageClient(**settings) as client:
        return await client.balance()
