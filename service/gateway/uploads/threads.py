"""Runs work on trusted bytes in a bounded pool of threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class ThreadPool:
    """Threads for work that would block the event loop. None is started before the first job."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(
        self, work: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Return what `work` returns, or raise what it raises. A job that is cancelled while it waits never starts."""
        future = self._threads.submit(work, *args, **kwargs)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Cancel the jobs that wait, and end after the running ones."""
        self._threads.shutdown(cancel_futures=True)
