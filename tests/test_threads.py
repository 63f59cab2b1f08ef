"""The client's thread pool, also if it can start no thread."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aimlapi_images.threads import Threads


async def test_work_runs_in_a_thread_of_the_pool() -> None:
    threads = Threads()

    thread = await threads.run(threading.current_thread)

    assert thread.name.startswith("aimlapi-images")


async def test_after_closing_work_runs_in_the_callers_thread() -> None:
    threads = Threads()
    thread = await threads.run(threading.current_thread)
    threads.close()
    thread.join(timeout=60)

    assert not thread.is_alive()
    assert await threads.run(threading.get_ident) == threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)


LATE = """
import asyncio, sys, threading
from aimlapi_images import ImageClient
from aimlapi_images.emulator import transport

async def late() -> None:
    while threading.main_thread().is_alive():
        await asyncio.sleep(0.01)
    async with ImageClient("sk-" + "0" * 20, transport=transport()) as client:
        print((await client.generate("x", to=sys.argv[1])).path)

threading.Thread(target=lambda: asyncio.run(late())).start()
"""


def test_an_image_is_written_by_a_thread_that_outlives_the_main_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LATE, str(tmp_path / "fox")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert (done.stdout.strip(), done.stderr) == (str(tmp_path / "fox.png"), "")
