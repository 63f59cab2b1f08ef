"""The client's thread pool."""

from __future__ import annotations

import gc
import threading

from aimlapi_images.threads import Threads


async def test_work_runs_in_a_thread_of_the_pool() -> None:
    threads = Threads()

    thread = await threads.run(threading.current_thread)

    assert thread.name.startswith("aimlapi-images")


async def test_the_threads_end_with_the_pool() -> None:
    threads = Threads()
    thread = await threads.run(threading.current_thread)

    del threads
    gc.collect()
    thread.join(timeout=60)

    assert not thread.is_alive()
