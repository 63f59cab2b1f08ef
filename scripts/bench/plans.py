"""The situations to measure. On two cores, the full plan takes half an hour and the quick one under two."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bench.contestants import BATCH
from bench.running import Cell
from bench.server_models import AtRandom, BrownOut, Server, Situation, TokenBucket, ideal

ALL = ("ours", "ours, aiohttp", "openai", "openai, aiohttp", "httpx", "aiohttp", "raw socket")
OURS_AND_OPENAI = ("ours", "ours, aiohttp", "openai", "openai, aiohttp")
PAIR = ("ours", "openai")
REFUSED = ("ours", "openai", "openai, endless retries")

# (form, megabytes, in flight, orders, saved, who, rounds). The number of orders is a multiple of those in flight.
FULL = (
    ("b64", 1.5, 20, 200, True, ALL, 3),
    ("b64", 1.5, 20, 200, False, ALL, 1),
    ("b64", 1.5, 1, 60, True, ALL, 1),
    ("b64", 1.5, 200, 400, True, ALL, 1),
    ("b64", 1.5, 200, 400, False, OURS_AND_OPENAI, 1),
    ("b64", 1.5, 1000, 1000, True, OURS_AND_OPENAI, 1),
    ("b64", 0.2, 20, 400, True, ALL, 1),
    ("b64", 6, 20, 80, True, ALL, 1),
    ("url", 1.5, 20, 200, True, ALL, 1),
    ("url", 1.5, 200, 400, True, OURS_AND_OPENAI, 1),
    ("url", 0.2, 20, 400, True, OURS_AND_OPENAI, 1),
    ("url", 6, 20, 80, True, OURS_AND_OPENAI, 1),
)
QUICK = (
    ("b64", 1.5, 20, 40, True, ALL, 1),
    ("b64", 1.5, 200, 200, True, PAIR, 1),
    ("url", 1.5, 20, 40, True, PAIR, 1),
)

# Orders of one pixel, to measure the cost of an order without its image. (orders, in flight, who, rounds)
FULL_GATHERS = ((5000, 16, OURS_AND_OPENAI, 1), (5000, 200, OURS_AND_OPENAI, 1))
QUICK_GATHERS = ((1000, 16, PAIR, 1), (1000, 200, PAIR, 1))

# Small images in files, each with a plain call and as a batch. (orders, megabytes, in flight, rounds)
FULL_BATCHES = ((2000, 0.02, 16, 3),)
QUICK_BATCHES = ((500, 0.02, 10, 1),)

# Servers that refuse orders with 429, by their names in paths: what they do, and the laboratory's model.
LIMITS: dict[str, tuple[str, Callable[[], Server]]] = {
    "none": ("nothing refused", Server),
    "bucket": ("20 a second admitted, burst 20", TokenBucket),
    "fast": ("200 a second admitted, burst 200", partial(TokenBucket, rate=200.0, burst=200.0)),
    "leaky": ("10 a second admitted, no burst", partial(TokenBucket, rate=10.0, burst=1.0)),
    "random": ("1 of 11 refused at random", AtRandom),
    "outage": ("all refused for 30 s", BrownOut),
    "blink": ("all refused for 3 s", partial(BrownOut, over=6.0)),
}
# (name, orders, in flight, seconds per order, processes, rounds): orders and those in flight are of each process.
FULL_LIMITS = (
    ("bucket", 500, 200, 1.0, 1, 1),
    ("fast", 5000, 400, 1.0, 1, 1),
    ("leaky", 150, 16, 0.5, 1, 1),
    ("none", 300, 16, 0.5, 1, 1),  # to compare the next one with
    ("random", 300, 16, 0.5, 1, 10),
    ("outage", 400, 16, 0.5, 1, 1),
    ("bucket", 125, 16, 0.5, 4, 1),
)
QUICK_LIMITS = (
    ("bucket", 60, 60, 1.0, 1, 1),
    ("leaky", 30, 16, 0.5, 1, 1),
    ("random", 60, 16, 0.5, 1, 1),
    ("blink", 150, 16, 0.5, 1, 1),
    ("bucket", 20, 16, 0.5, 4, 1),
)

# Programs to time. ADDRESS is replaced by the server's address.
STARTS = {
    "import aimlapi_images": "import aimlapi_images",
    "import openai": "import openai",
    "import and make a client, ours": "import aimlapi_images; aimlapi_images.ImageClient('key')",
    "import and make a client, openai": "import openai; openai.AsyncOpenAI(api_key='key')",
    "first image, ours": "from bench.child import first; first('ours', 'http://ADDRESS/b64-0-1')",
    "first image, openai": "from bench.child import first; first('openai', 'http://ADDRESS/b64-0-1')",
    "aimlapi-images --help": "from aimlapi_images.cli import main; main(['--help'])",
    "import httpx": "import httpx",
}
START_RATIOS = (
    ("import", "import aimlapi_images", "import openai"),
    ("import and make a client", "import and make a client, ours", "import and make a client, openai"),
    ("everything up to the first image", "first image, ours", "first image, openai"),
    ("--help, to import httpx", "aimlapi-images --help", "import httpx"),
)


def image_cells(quick: bool) -> list[Cell]:
    """The cells that measure images."""
    return [
        Cell(
            f"{form}, {size:g} MB, {in_flight:,} in flight, {'to files' if save else 'in memory'}",
            f"{form}-{round(size * 1e6)}-{in_flight}",
            orders,
            in_flight,
            save,
            who,
            rounds,
        )
        for form, size, in_flight, orders, save, who, rounds in (QUICK if quick else FULL)
    ]


def gather_cells(quick: bool) -> list[Cell]:
    """The cells that measure many small orders."""
    return [
        Cell(f"{orders:,} orders at once, {in_flight} in flight", "b64-0-1", orders, in_flight, False, who, rounds)
        for orders, in_flight, who, rounds in (QUICK_GATHERS if quick else FULL_GATHERS)
    ]


def batch_cells(quick: bool) -> list[Cell]:
    """The cells that measure what a batch costs in addition to its images."""
    return [
        Cell(
            f"batch of {orders:,} images of {size:g} MB, {in_flight} in flight",
            f"b64-{round(size * 1e6)}-{in_flight}",
            orders,
            in_flight,
            True,
            ("ours", BATCH),
            rounds,
        )
        for orders, size, in_flight, rounds in (QUICK_BATCHES if quick else FULL_BATCHES)
    ]


def limited_cells(quick: bool) -> list[tuple[Cell, float]]:
    """The cells with a server that refuses orders, each with the shortest possible time in seconds."""
    cells = []
    for name, orders, in_flight, seconds, clients, rounds in QUICK_LIMITS if quick else FULL_LIMITS:
        title, server = LIMITS[name]
        by = f" by each of {clients} processes" if clients > 1 else ""
        label = f"Refused orders: {title}; {orders:,} orders of {seconds:g} s{by}, {in_flight} in flight"
        cell = Cell(label, f"limited-{name}-{seconds}", orders, in_flight, False, REFUSED, rounds, clients)
        cells.append((cell, ideal(Situation(label, server, orders, clients), seconds, in_flight)))
    return cells
