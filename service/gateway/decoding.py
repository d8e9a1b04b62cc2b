"""Uploads to network inputs, in a bounded pool of threads.

A decoded picture lives and dies inside one job of a pool, so no more of them are in memory than the pool has threads.
What leaves is small: the network's input, and the facts of the upload.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from service import images, preprocess
from service.gateway.backend import Pixels
from service.inputs import Input

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Pool:
    """Threads for work that would hold up the event loop; it starts none before the first job."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(
        self, work: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """What `work` returns or raises. A job that is cancelled while it waits is never begun."""
        future = self._threads.submit(work, *args, **kwargs)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Drop the jobs that wait and end after the running ones."""
        self._threads.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Facts:
    """What is told of a decoded upload: its upright size in pixels, file format and mode, and what was given up."""

    width: int
    height: int
    format: str
    mode: str
    warnings: tuple[str, ...]


def prepare(data: bytes, limits: images.Limits, specs: Sequence[Input]) -> tuple[Facts, list[Pixels]]:
    """The facts of an upload and its input for each of `specs`. Raises what `images.decode` does.

    It is decoded once for all models that need the same side, so that each gets the same pixels as when asked alone.
    """
    by_side: dict[int, list[int]] = {}
    for place, spec in enumerate(specs):
        by_side.setdefault(preprocess.needed_side(spec), []).append(place)
    inputs: dict[int, Pixels] = {}
    for side, places in by_side.items():
        picture = images.decode(data, limits, needed=side)
        inputs |= {place: preprocess.prepare(specs[place], picture.image) for place in places}
    facts = Facts(picture.width, picture.height, picture.format, picture.mode, picture.warnings)
    return facts, [inputs[place] for place in range(len(specs))]
