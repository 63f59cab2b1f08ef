"""The client's thread pool, also while it shuts down."""

from __future__ import annotations

import threading

import pytest

from aimlapi_images.threads import Threads


async def test_work_runs_in_a_thread_of_the_pool() -> None:
    threads = Threads()

    name = await threads.run(lambda: threading.current_thread().name)
    threads.close()

    assert name.startswith("aimlapi-images")


async def test_after_closing_work_runs_in_the_callers_thread() -> None:
    threads = Threads()
    threads.close()

    assert await threads.run(threading.get_ident) == threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
