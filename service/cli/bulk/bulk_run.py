"""Ask a model about inputs, as many at a time as a limit allows, and keep each answer as soon as it is there."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from service.cli.bulk.results_file import ResultsFile
from service.cli.predict import output, records, runner
from service.cli.predict.failures import RunFailedError
from service.cli.predict.inputs import InputFile
from service.cli.predict.runner import Answer, Model

Step = Callable[[int, int], object]


class RequestLimit(Protocol):
    """How many requests may be in flight, and the seconds to wait before each."""

    @property
    def pause_s(self) -> float:
        """The pause now."""

    @property
    def current(self) -> int:
        """The limit now."""

    def answered(self, seconds: float) -> None:
        """Note the latency of an answer."""


class FixedLimit:
    """A limit that does not change, without pauses."""

    pause_s = 0.0

    def __init__(self, current: int) -> None:
        self.current = current

    def answered(self, _seconds: float) -> None:
        """Ignore the latency."""


async def run(model: Model, files: Iterable[InputFile], results: ResultsFile, limit: RequestLimit, step: Step) -> None:
    """Append a line about each file to the results. Raises `RunFailedError`, after what is answered is kept.

    At most `limit.current` images are in memory.
    """
    waiting: set[asyncio.Task[tuple[InputFile, Answer, float]]] = set()
    remaining = iter(files)
    try:
        while True:
            while len(waiting) < limit.current and (file := next(remaining, None)) is not None:
                await asyncio.sleep(limit.pause_s)
                waiting.add(asyncio.create_task(_timed(model, file)))
            if not waiting:
                return
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            failures = [error for task in done if (error := task.exception()) is not None]
            for task in done:
                if task.exception() is None:
                    file, answer, seconds = task.result()
                    _keep(results, file, answer, step)
                    limit.answered(seconds)
            if failures:
                raise failures[0]
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _keep(results: ResultsFile, file: InputFile, answer: Answer, step: Step) -> None:
    found = records.record(file.name, answer)
    failed = bool(records.code_of(found))
    try:
        results.append(output.line(found))
    except OSError as error:
        raise RunFailedError(f"{results.path} cannot be written: {error.strerror}; run the command again") from error
    results.failed += failed
    step(1, int(failed))


async def _timed(model: Model, file: InputFile) -> tuple[InputFile, Answer, float]:
    started = time.perf_counter()
    answer = await runner.ask(model, file)
    return file, answer, time.perf_counter() - started
