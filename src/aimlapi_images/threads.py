"""The client's own thread pool for blocking work."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

_WORKERS: Final = 4

ResultT = TypeVar("ResultT")


class Threads:
    """A few threads for files and image checks.

    asyncio's default executor is not used: an application may keep all of its threads busy, and an order would
    then outlive its deadline.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="aimlapi-images")
        self._writes = asyncio.Semaphore(_WORKERS)

    async def run(self, work: Callable[..., ResultT], *arguments: object) -> ResultT:
        """Call a blocking function in one of the threads; or here if there can be none, so that images are written."""
        try:
            working = asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        except RuntimeError:  # after `close`, while the interpreter shuts down, or if the system allows no more threads
            return work(*arguments)
        return await working

    async def write(self, work: Callable[..., ResultT], *arguments: object) -> ResultT:
        """Call a function that writes an image, of which there is one at a time for each thread.

        A caller that is cancelled waits until the function has ended, so that no file appears afterwards.
        """
        async with self._writes:
            writing = asyncio.ensure_future(self.run(work, *arguments))
            try:
                return await asyncio.shield(writing)
            except asyncio.CancelledError:
                await asyncio.wait([writing])
                raise

    async def catch_up(self) -> None:
        """Wait until the images that came earlier are written, but for a few."""
        async with self._writes:
            pass

    def close(self) -> None:
        """Let the threads end when their work is done."""
        self._pool.shutdown(wait=False)
