"""The live page, and what programs read instead."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from aimlapi_images import emulator
from aimlapi_images.emulator import RunningEmulator

AUTH = {"Authorization": "Bearer any-key"}
ATTACK = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"
CHROMIUM = shutil.which("chromium")


@pytest.fixture
def running() -> Iterator[RunningEmulator]:
    with emulator.serve(drawing="plain") as running:
        yield running


def order(running: RunningEmulator, prompt: str, **headers: str) -> httpx.Response:
    body = {"model": "openai/gpt-image-1-5", "prompt": prompt}
    return httpx.post(f"{running.base_url}/v1/images/generations", json=body, headers={**AUTH, **headers}, timeout=60)


def test_the_page_escapes_what_it_shows_and_allows_nothing_foreign(running: RunningEmulator) -> None:
    order(running, ATTACK)

    page = httpx.get(running.base_url)

    assert ATTACK not in page.text
    assert "&lt;script&gt;" in page.text
    assert "<script" not in page.text
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; img-src 'self';")
    assert "script-src" not in policy


def test_counters_are_read_and_reset_by_programs(running: RunningEmulator) -> None:
    order(running, "A fox")
    order(running, "A fox", **{"X-Emulator-Fault": "rate_limited"})

    stats = httpx.get(f"{running.base_url}/_emulator/stats").json()
    after = httpx.post(f"{running.base_url}/_emulator/reset").json()

    assert stats == {
        "received": 2,
        "accepted": 1,
        "billed": 1,
        "delivered": 1,
        "refused": 1,
        "in_flight": 0,
        "peak": 1,
        "fetched": 0,
        "usd": 0.034,
        "balance": 999_999.966,
        "faults": {"rate_limited": 1},
    }
    assert (after["received"], after["balance"], after["faults"]) == (0, 1_000_000.0, {})


def chromium(*arguments: str) -> str:
    """Run Chromium without a window, and without a network other than this machine."""
    switches = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]
    done = subprocess.run([str(CHROMIUM), *switches, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_images_requests_faults_and_money(running: RunningEmulator, tmp_path: Path) -> None:
    order(running, ATTACK)
    order(running, "A second fox", **{"X-Client-Request-Id": "my-order.1"})
    order(running, "A fox", **{"X-Emulator-Fault": "proxy_timeout"})
    home, picture = f"--user-data-dir={tmp_path / 'home'}", tmp_path / "page.png"

    page = chromium(home, "--dump-dom", running.base_url)
    chromium(home, "--window-size=1000,1000", f"--screenshot={picture}", running.base_url)

    assert "<title>AI/ML API emulator</title>" in page
    for shown in ("A second fox", "my-order.1", "proxy_timeout", "0.102", "succeeded"):
        assert shown in page
    with Image.open(picture) as image:
        pixels = image.convert("RGB").tobytes()
    # The badge on the images: they were loaded, although the policy allows this host alone.
    badge = sum(pixels[i] > 240 and 190 < pixels[i + 1] < 220 and pixels[i + 2] < 90 for i in range(0, len(pixels), 3))
    assert badge > 100
