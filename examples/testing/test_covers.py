"""Tests of the application on an emulated API, with faults: `pytest`. The fixture comes with aimlapi-images."""

import asyncio
from pathlib import Path

from aimlapi_images.emulator import RunningEmulator
from covers import make_covers


def test_every_title_gets_a_cover(aimlapi_emulator: RunningEmulator, tmp_path: Path) -> None:
    outcomes = asyncio.run(make_covers(["Dune", "Emma"], tmp_path))

    assert outcomes == {"Dune": "made", "Emma": "made"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dune.png", "emma.png"]


def test_a_rate_limit_delays_a_cover_and_bills_it_once(aimlapi_emulator: RunningEmulator, tmp_path: Path) -> None:
    aimlapi_emulator.fail("rate_limited", times=2)

    assert asyncio.run(make_covers(["Dune"], tmp_path)) == {"Dune": "made"}
    assert aimlapi_emulator.billed == 1


def test_a_refused_title_does_not_stop_the_next(aimlapi_emulator: RunningEmulator, tmp_path: Path) -> None:
    aimlapi_emulator.fail("content_policy")

    assert asyncio.run(make_covers(["Lolita", "Emma"], tmp_path)) == {"Lolita": "refused", "Emma": "made"}


def test_a_lost_answer_is_not_ordered_again(aimlapi_emulator: RunningEmulator, tmp_path: Path) -> None:
    aimlapi_emulator.fail("dropped_after")

    assert asyncio.run(make_covers(["Dune"], tmp_path)) == {"Dune": "ask support"}
    assert aimlapi_emulator.stats.received == 1
