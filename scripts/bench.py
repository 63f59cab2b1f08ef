"""What matters to users, as ratios to a peer in the same run: `make bench`.

Each figure is taken in a process of its own, ours and the peer's in turn; the median counts. Ratios below 1
are in our favour. Machines differ and are noisy: the seconds are there to judge the ratios by.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

ROUNDS = 5
ORDERS = 2_000
IN_FLIGHT = 16
MODEL = "openai/gpt-image-1-5"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", choices=["ours", "openai"], help=argparse.SUPPRESS)
    parser.add_argument("--base-url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(asyncio.run(gather(options.child, options.base_url))))
        return

    print(f"{'':52}{'ours':>10}{'peer':>10}{'ratio':>8}")
    for label, ours, peer in STARTS:
        report(label, *([run.seconds for run in runs] for runs in in_turn(["-c", ours], ["-c", peer])))
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        base_url = server.stdout.readline().strip()
        runs = in_turn(*([__file__, "--child", who, "--base-url", base_url] for who in ("ours", "openai")))
        server.terminate()
    for label, key in [("CPU an order (ms)", "cpu_ms"), ("wall time (s)", "wall")]:
        figures = ([json.loads(run.printed)[key] for run in each] for each in runs)
        report(f"gather of {ORDERS:,}, {IN_FLIGHT} in flight, {label}", *figures)


STARTS = (
    ("import (s), to openai", "import aimlapi_images", "import openai"),
    (
        "import and make a client (s), to openai",
        "import aimlapi_images; aimlapi_images.ImageClient('key')",
        "import openai; openai.AsyncOpenAI(api_key='key')",
    ),
    ("--help (s), to import httpx", "from aimlapi_images.cli import main; main(['--help'])", "import httpx"),
)


# The server has a process of its own, so that its work is nobody's CPU time, and answers with one pixel.
SERVER = """
import threading
from aimlapi_images import emulator, schema
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
import json
post = schema.document()["paths"][schema.GENERATIONS_PATH]["post"]
body = json.dumps(post["responses"]["200"]["content"]["application/json"]["example"]).encode()
async def answer(request):
    await request.body()
    return Response(body, media_type="application/json")
with emulator.serve(Starlette(routes=[Route("/v1/images/generations", answer, methods=["POST"])])) as running:
    print(running.base_url, flush=True)
    threading.Event().wait()
"""


async def gather(who: str, base_url: str) -> dict[str, float]:
    """Send all orders at once, and measure this process."""
    if who == "ours":
        from aimlapi_images import ImageClient

        client = ImageClient("key", base_url=base_url, max_concurrency=IN_FLIGHT)

        async def generate(prompt: str) -> bytes:
            return (await client.generate(prompt)).data
    else:
        import base64

        import openai

        slots = asyncio.Semaphore(IN_FLIGHT)
        peer = openai.AsyncOpenAI(api_key="key", base_url=f"{base_url}/v1", max_retries=0)

        async def generate(prompt: str) -> bytes:
            # What its users have to write themselves, to be within the same limit and have the bytes.
            async with slots:
                answer = await peer.images.generate(model=MODEL, prompt=prompt)
            assert answer.data
            return base64.b64decode(answer.data[0].b64_json or "")

    started, before = time.perf_counter(), time.process_time()
    images = await asyncio.gather(*(generate(f"number {number}") for number in range(ORDERS)))
    assert len(images) == ORDERS
    return {"wall": time.perf_counter() - started, "cpu_ms": 1000 * (time.process_time() - before) / ORDERS}


class Run(NamedTuple):
    seconds: float
    printed: str


def in_turn(*commands: list[str]) -> list[list[Run]]:
    """Run the commands one after the other, several rounds; the runs of each command."""
    runs: list[list[Run]] = [[] for _ in commands]
    for _ in range(ROUNDS):
        for command, found in zip(commands, runs, strict=True):
            started = time.perf_counter()
            done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
            found.append(Run(time.perf_counter() - started, done.stdout))
    return runs


def report(label: str, ours: list[float], peer: list[float]) -> None:
    mine, theirs = statistics.median(ours), statistics.median(peer)
    print(f"{label:52}{mine:10.3f}{theirs:10.3f}{mine / theirs:8.2f}")


if __name__ == "__main__":
    main()
