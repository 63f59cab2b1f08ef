"""A bar chart of CPU time and memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from bench.running import Figures

WIDTH, BAR, GAP, LEFT, TOP = 960, 22, 8, 190, 44
INK, PALE, OURS, OTHERS = "#1f2328", "#656d76", "#1a7f37", "#8c959f"


def draw(path: Path, results: Sequence[tuple[str, dict[str, Figures]]]) -> None:
    """Draw CPU time and peak memory of each situation to a PNG, one block below the other."""
    blocks = [
        (f"{label}: {what}", {who: figures[key] for who, figures in found.items()}, unit)
        for label, found in results
        for key, what, unit in (("cpu_ms", "CPU time per image", "ms"), ("peak_mb", "peak memory", "MB"))
    ]
    height = sum(TOP + len(bars) * (BAR + GAP) for _, bars, _ in blocks) + TOP // 2
    picture = Image.new("RGB", (WIDTH, height), "white")
    pen = ImageDraw.Draw(picture)
    y = 0
    for title, bars, unit in blocks:
        y = _block(pen, y, title, bars, unit)
    picture.save(path, optimize=True)


def _block(pen: ImageDraw.ImageDraw, y: int, title: str, bars: dict[str, float], unit: str) -> int:
    font, small = ImageFont.load_default(16), ImageFont.load_default(14)
    pen.text((12, y + 16), title, INK, font=font)
    y += TOP
    longest = max(bars.values(), default=1.0)
    for who, value in bars.items():
        length = round((WIDTH - LEFT - 110) * value / longest)
        pen.text((LEFT - 10, y + BAR // 2), who, INK, font=small, anchor="rm")
        pen.rectangle((LEFT, y, LEFT + max(1, length), y + BAR), OURS if who.startswith("ours") else OTHERS)
        pen.text((LEFT + length + 8, y + BAR // 2), f"{value:,.1f} {unit}", PALE, font=small, anchor="lm")
        y += BAR + GAP
    return y
