"""Ask a model about inputs, as many at a time as a limit allows, and keep each answer as soon as it is there."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from service.cli.bulk.results_file import ResultsFile
from service.cli.predict import output, records, runner
from service.cli.predict.failures import RunFailedError
from service.cli.predict.inputs import InputFile
from service.cli.predict.runner import Answer, Model

CHECK_S: Final = 1.0  # an image may be set aside while no other is answered

Step = Callable[[int, int], object]


class RequestLimit(Protocol):
    """How many requests may be in flight, and the seconds to wait before each."""

    @property
    def pause_s(self) -> float:
        """The pause now."""

    @property
    def current(self) -> int:
        """The limit now, without the images that are set aside."""

    @property
    def most(self) -> int:
        """The highest limit, which also bounds the images in memory."""


class FixedLimit:
    """A limit that does not change, without pauses."""

    pause_s = 0.0

    def __init__(self, current: int) -> None:
        self.current = self.most = current


async def run(model: Model, files: Iterable[InputFile], results: ResultsFile, limit: RequestLimit, step: Step) -> None:
    """Append a line about each file to the results. Raises `RunFailedError`, after what is answered is kept.

    At most `limit.most` images are in memory. Those that the model has set aside let others be asked meanwhile.
    """
    waiting: set[asyncio.Task[tuple[InputFile, Answer]]] = set()
    remaining = iter(files)
    try:
        while True:
            while _has_room(model, limit, len(waiting)) and (file := next(remaining, None)) is not None:
                await asyncio.sleep(limit.pause_s)
                waiting.add(asyncio.create_task(_asked(model, file)))
            if not waiting:
                return
            done, waiting = await asyncio.wait(waiting, timeout=CHECK_S, return_when=asyncio.FIRST_COMPLETED)
            failures = []
            for task in done:
                try:
                    _keep(results, *task.result(), step)
                except RunFailedError as error:
                    failures.append(error)
            if failures:
                raise failures[0]
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _has_room(model: Model, limit: RequestLimit, in_flight: int) -> bool:
    return in_flight < limit.most and in_flight - model.set_aside < limit.current


def _keep(results: ResultsFile, file: InputFile, answer: Answer, step: Step) -> None:
    found = records.record(file.name, answer)
    failed = bool(records.code_of(found))
    try:
        results.append(output.line(found))
    except OSError as error:
        raise RunFailedError(f"{results.path} cannot be written: {error.strerror}; run the command again") from error
    results.failed += failed
    step(1, int(failed))


async def _asked(model: Model, file: InputFile) -> tuple[InputFile, Answer]:
    return file, await runner.ask(model, file)
