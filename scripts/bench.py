"""What matters to users, as ratios to a peer in the same run: `make bench`.

Each figure is taken in a process of its own, ours and the peer's in turn; the median counts. Ratios below 1
are in our favour. Machines differ and are noisy: the seconds are there to judge the ratios by.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

import httpx

ROUNDS = 5
ORDERS, IN_FLIGHT = 2_000, 16
LIMITED_ORDERS, LIMITED_IN_FLIGHT, RATE, BURST = 500, 200, 20, 20
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
        for label, key in [("CPU an order (ms)", "cpu_ms"), ("wall time (s)", "wall")]:
            figures = ([json.loads(run.printed)[key] for run in each] for each in runs)
            report(f"gather of {ORDERS:,}, {IN_FLIGHT} in flight, {label}", *figures)
        rate_limited(base_url)
        server.terminate()


STARTS = (
    ("import (s), to openai", "import aimlapi_images", "import openai"),
    (
        "import and make a client (s), to openai",
        "import aimlapi_images; aimlapi_images.ImageClient('key')",
        "import openai; openai.AsyncOpenAI(api_key='key')",
    ),
    ("--help (s), to import httpx", "from aimlapi_images.cli import main; main(['--help'])", "import httpx"),
)


# The server has a process of its own, so that its work is nobody's CPU time, and answers with one pixel: at once,
# or, below /limited, after a second and as a token bucket admits. /reset fills the bucket, and tells the refusals.
SERVER = f"""
import asyncio, json, threading, time
from aimlapi_images import emulator, schema
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
post = schema.document()["paths"][schema.GENERATIONS_PATH]["post"]
body = json.dumps(post["responses"]["200"]["content"]["application/json"]["example"]).encode()
state = {{}}
def reset(request):
    refused = state.get("refused", 0)
    state.update(tokens={BURST}, at=time.monotonic(), refused=0)
    return JSONResponse(refused)
reset(None)
async def answer(request):
    await request.body()
    return Response(body, media_type="application/json")
async def limited(request):
    now = time.monotonic()
    state["tokens"] = min({BURST}, state["tokens"] + (now - state["at"]) * {RATE})
    state["at"] = now
    if state["tokens"] < 1:
        state["refused"] += 1
        return JSONResponse({{"message": "Too Many Requests"}}, 429, headers={{"Retry-After": "1"}})
    state["tokens"] -= 1
    await asyncio.sleep(1)
    return await answer(request)
app = Starlette(routes=[
    Route("/v1/images/generations", answer, methods=["POST"]),
    Route("/limited/v1/images/generations", limited, methods=["POST"]),
    Route("/reset", reset),
])
with emulator.serve(app) as running:
    print(running.base_url, flush=True)
    threading.Event().wait()
"""


def rate_limited(base_url: str) -> None:
    """The gather that loses images elsewhere: far more at once than the server admits."""
    ideal = (LIMITED_ORDERS - BURST) / RATE + 1
    print(f"\ngather of {LIMITED_ORDERS} at a server that admits {RATE} a second (burst {BURST}, Retry-After: 1)")
    print(f"{'':32}{'lost':>8}{'429s':>8}{'time over the ideal':>22}")
    for who in ("ours", "openai"):
        httpx.get(f"{base_url}/reset")
        ((run,),) = in_turn([__file__, "--child", who, "--base-url", f"{base_url}/limited"], rounds=1)
        refused = httpx.get(f"{base_url}/reset").json()
        found = json.loads(run.printed)
        lost = LIMITED_ORDERS - found["images"]
        print(f"{who:32}{lost:8}{refused:8}{found['wall'] / ideal:22.2f}")


async def gather(who: str, base_url: str) -> dict[str, float]:
    """Give all orders at once, and measure this process."""
    limited = base_url.endswith("/limited")
    orders, in_flight = (LIMITED_ORDERS, LIMITED_IN_FLIGHT) if limited else (ORDERS, IN_FLIGHT)
    if who == "ours":
        from aimlapi_images import ImageClient

        client = ImageClient("key", base_url=base_url, max_concurrency=in_flight)

        async def generate(prompt: str) -> bytes:
            return (await client.generate(prompt)).data
    else:
        import openai

        slots = asyncio.Semaphore(in_flight)
        peer = openai.AsyncOpenAI(api_key="key", base_url=f"{base_url}/v1")

        async def generate(prompt: str) -> bytes:
            # What its users have to write themselves, to be within the same limit and have the bytes.
            async with slots:
                answer = await peer.images.generate(model=MODEL, prompt=prompt)
            assert answer.data
            return base64.b64decode(answer.data[0].b64_json or "")

    started, before = time.perf_counter(), time.process_time()
    images = await asyncio.gather(*(generate(f"number {number}") for number in range(orders)), return_exceptions=True)
    wall, cpu = time.perf_counter() - started, time.process_time() - before
    return {"images": sum(isinstance(each, bytes) for each in images), "wall": wall, "cpu_ms": 1000 * cpu / orders}


class Run(NamedTuple):
    seconds: float
    printed: str


def in_turn(*commands: list[str], rounds: int = ROUNDS) -> list[list[Run]]:
    """Run the commands one after the other, several rounds; the runs of each command."""
    runs: list[list[Run]] = [[] for _ in commands]
    for _ in range(rounds):
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
