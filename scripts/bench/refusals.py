"""Runs the whole laboratory, and writes `docs/throttle.md` and its chart: `make bench-throttle`."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from bench.chart import INK, OTHERS, OURS, PALE
from bench.laboratory import Run, Who, run
from bench.server_models import SITUATIONS, Situation

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
SEEDS: Final = 3
SETTINGS: Final = ((0.5, 16), (26.0, 200))  # seconds of a generation, orders at once
COLUMNS: Final = (
    "server", "`Retry-After`", "ideal", "ours", "plain", "refusals, ours", "plain",
    "longest wait, ours", "plain", "lost, ours",
)  # fmt: skip

INTRODUCTION: Final = """# When the API refuses orders

A 429 can mean three things: this client sends too fast, other clients do, or the API is overloaded. The answer does not
say which. What tells them apart is whether refusals become rarer when the client sends less:

1. At first, orders start freely: 16 at once and 16 a second, twice as many each second, up to `max_concurrency`.
2. The first refusal halves the pace for a moment. The pace then returns to the rate that the API admitted, stays near
   it, and rises ever faster. If refusals come only above that rate, the limit is the client's, and each costs a tenth.
3. Refusals below that rate lead to a second, measured cut. If they stay frequent nevertheless, slowing down does not
   help: the rate before the cuts is restored, and that share of refusals is tolerated. Only refusals in excess of it
   count from then on.
4. If nothing, or hardly any of the latest attempts, is admitted, all orders pause: for the `Retry-After`, or for 0.5 s
   and longer each time, up to 6 s. Then one order probes.

A refused order itself always waits for the `Retry-After`, keeps its place in the queue, and is sent again any number of
times. After more than 120 s, or a free-tier limit, all fail at once. `max_concurrency` and `requests_per_minute` always
hold. `client.throttle` shows what is open and queued, the mode, the rate and the reason; the event `ThrottleChanged`
tells an observer, and the log, when the mode changes.

## Measured in virtual time

Models of servers (`scripts/bench/server_models.py`) get all orders at once. *Ideal* is the
time in seconds of a client that knows when the server admits; *ours* and *plain* are multiples of it. *Plain* are the
retries of the OpenAI SDK without a limit of attempts: without a `Retry-After`, they never end at a free tier's limit.
The longest wait is that of any order from its first attempt until it is admitted, in seconds. All numbers are means of
{seeds} runs. Made by `make bench-throttle`.
"""

REMARKS: Final = """## What is not ideal

- Finding out that slowing down does not help takes about 30 orders, so a short job on an API that refuses 1 of 11 at
  random takes about 1.3 times as long as one without refusals, and in the worst of 60 runs 2.6 times. At 1 of 3, it is
  1.8 times, and 3.0 in the worst of 60 runs.
- Slots that only open when a generation ends are found by trying: with 26 s a generation, one probe every few seconds.
- Clients that share a limit each see refusals that do not depend on them, and tolerate some. They use the limit fully,
  with more refusals than one client alone.
- The careful start keeps the first refusals few, and costs up to 4 s where there is no limit and `max_concurrency` is
  200. With the default of 16 it costs nothing.

## Orders admitted per second

0.5 s a generation, 16 at once, with `Retry-After`. Green is this client, gray are plain retries.

![Orders admitted per second, for each server](throttle.png)
"""


def main() -> None:
    lines = [INTRODUCTION.format(seeds=SEEDS)]
    for seconds, at_once in SETTINGS:
        lines.append(f"### {seconds:g} s a generation, {at_once} orders at once\n")
        lines.append("| " + " | ".join(COLUMNS) + " |\n|" + " --- |" * len(COLUMNS))
        for situation in SITUATIONS.values():
            for retry_after in (True, False):
                lines.append(_row(situation, retry_after, seconds, at_once))
        lines.append("")
    (DOCS / "throttle.md").write_text("\n".join([*lines, REMARKS]), encoding="utf-8")
    _draw(DOCS / "throttle.png")


def _row(situation: Situation, retry_after: bool, seconds: float, at_once: int) -> str:
    def runs(who: Who) -> list[Run]:
        seeds = range(SEEDS)
        return [run(situation, who, retry_after=retry_after, seconds=seconds, at_once=at_once, seed=s) for s in seeds]

    ideal = run(situation, "oracle", seconds=seconds, at_once=at_once).seconds
    endless = situation.name == "free tier's hour" and not retry_after
    both = [runs("ours"), [] if endless else runs("plain")]
    cells = [
        situation.name,
        "yes" if retry_after else "no",
        f"{ideal:.1f}",
        *(f"{fmean(each.seconds for each in of) / ideal:.2f}" if of else "never" for of in both),
        *(f"{fmean(each.refusals for each in of):.0f}" if of else "" for of in both),
        *(f"{fmean(each.longest_wait for each in of):.1f}" if of else "" for of in both),
        f"{sum(each.lost for each in both[0]) / SEEDS:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _draw(path: Path) -> None:
    """Draw one small chart for each server, two in a row, of orders admitted in each second."""
    width, height, margin = 460, 130, 36
    rows = (len(SITUATIONS) + 1) // 2
    picture = Image.new("RGB", (2 * width, rows * height), "white")
    pen, font, small = ImageDraw.Draw(picture), ImageFont.load_default(14), ImageFont.load_default(11)
    for number, situation in enumerate(SITUATIONS.values()):
        left, top = number % 2 * width + margin, number // 2 * height + 26
        found = {who: run(situation, who) for who in WHO}
        length = max(each.seconds for each in found.values())
        step = max(1.0, length / 120)
        most = 34.0
        pen.text((left, top - 20), situation.name, INK, font=font)
        pen.text((left - 6, top), f"{most:g}/s", PALE, font=small, anchor="rm")
        right, bottom = left + width - margin - 24, top + height - 50
        pen.line([(left, top), (left, bottom), (right, bottom)], PALE)
        pen.text((right, bottom + 10), f"{length:.0f} s", PALE, font=small, anchor="rm")
        for who, color in WHO.items():
            counts = [0] * (int(length / step) + 2)
            for at in found[who].accepted:
                counts[int(at / step)] += 1
            points = [
                (left + (right - left) * place * step / length, bottom - (bottom - top) * min(1.0, count / step / most))
                for place, count in enumerate(counts[:-1])
            ]
            pen.line([*points, (points[-1][0], bottom)], color, width=2)
    picture.save(path, optimize=True)


WHO: Final[dict[Who, str]] = {"plain": OTHERS, "ours": OURS}


if __name__ == "__main__":
    main()
