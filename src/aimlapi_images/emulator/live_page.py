"""The emulator's own pages: a live page at `/`, and `/_emulator/stats` and `/_emulator/reset` for programs."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Final

import attrs
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from aimlapi_images.emulator.request_log import Row
from aimlapi_images.emulator.state import State, Stats

PREVIEW_PATH: Final = "/_emulator/latest"

_REFRESH_SECONDS: Final = 2
_ROWS_SHOWN: Final = 12
_CAPTION_LENGTH: Final = 200
_LOG_HEAD: Final = ("created", "status", "model", "US dollars", "client request id")

# Nothing but this page's own style and the emulator's own images; no script at all.
_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

_STYLE: Final = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 66rem; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1rem; margin-top: 2rem; }
dl, .images { display: grid; gap: .6rem; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }
dl div, figure { margin: 0; padding: .5rem .7rem; border: 1px solid #8884; border-radius: .5rem; }
dt { opacity: .7; } dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
img { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: .3rem; }
figcaption { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .2rem .8rem .2rem 0; }
"""


@attrs.frozen
class LivePage:
    """The pages.

    Attributes:
        state: The state of the emulator.
    """

    state: State

    async def show(self, _: Request) -> Response:
        """Show images, requests, faults and money. The page reloads itself."""
        stats = self.state.stats
        rows = self.state.log.rows(self.state.now())[:_ROWS_SHOWN]
        faults = _table(("kind", "times"), [[kind, str(times)] for kind, times in stats.faults.items()])
        page = (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>AI/ML API emulator</title>'
            f'<meta http-equiv="refresh" content="{_REFRESH_SECONDS}"><style>{_STYLE}</style></head><body>'
            f"<h1>AI/ML API emulator</h1>{_numbers(stats)}"
            f"<h2>Latest images</h2><div class=images>{self._images()}</div>"
            f"<h2>Faults</h2>{faults}"
            f"<h2>Log</h2>{_table(_LOG_HEAD, map(_cells, rows))}"
            f"</body></html>"
        )
        return HTMLResponse(page.encode("utf-8", "replace"), headers=_HEADERS)

    async def stats(self, _: Request) -> Response:
        """`GET /_emulator/stats`."""
        return JSONResponse(attrs.asdict(self.state.stats))

    async def reset(self, _: Request) -> Response:
        """`POST /_emulator/reset`."""
        self.state.reset()
        return JSONResponse(attrs.asdict(self.state.stats))

    def _images(self) -> str:
        figures = []
        for prompt, name in list(self.state.latest):
            text = html.escape(prompt[:_CAPTION_LENGTH])
            figures.append(
                f'<figure><img src="{PREVIEW_PATH}/{html.escape(name)}" alt="">'
                f'<figcaption title="{text}">{text}</figcaption></figure>'
            )
        return "".join(figures) or "<p>None yet.</p>"


def _numbers(stats: Stats) -> str:
    shown = {
        "received": stats.received,
        "accepted": stats.accepted,
        "billed": stats.billed,
        "delivered": stats.delivered,
        "refused": stats.refused,
        "in flight": stats.in_flight,
        "peak": stats.peak,
        "images fetched": stats.fetched,
        "billed, US dollars": f"{stats.usd:,.3f}",
        "balance, US dollars": f"{stats.balance:,.3f}",
    }
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in shown.items()) + "</dl>"


def _cells(row: Row) -> list[str]:
    fields = row.fields
    cells = (fields["created"], fields["status"], fields["model"], fields["cost"]["usd"], fields["client_request_id"])
    return ["" if cell is None else str(cell)[:_CAPTION_LENGTH] for cell in cells]


def _table(head: Iterable[str], rows: Iterable[list[str]]) -> str:
    lines = [f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    if not lines:
        return "<p>None yet.</p>"
    return f"<table><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>{''.join(lines)}</table>"
