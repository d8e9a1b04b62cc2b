"""Ask a model about files, several at a time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from service.cli.predict import inputs
from service.cli.predict.failures import InputProblemError
from service.cli.predict.inputs import InputFile

Answer = dict[str, Any]


class Model(Protocol):
    """What answers uploads, behind a service or in this process."""

    concurrency: int
    set_aside: int  # uploads that were rejected several times, and are asked again after long pauses

    async def __aenter__(self) -> Self:
        """Prepare for the first upload."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """End."""

    async def answer(self, upload: bytes, name: str = "An image") -> Mapping[str, Any]:
        """Return the members of an image's answer, or `error` with its problem document. Messages have its `name`."""


async def ask(model: Model, file: InputFile) -> Answer:
    """Return the answer about a file. A file that cannot be read has its problem in `error`."""
    try:
        upload = await asyncio.to_thread(inputs.read, file)
    except InputProblemError as error:
        return {"error": error.problem}
    return dict(await model.answer(upload, file.name))


async def in_order(model: Model, files: Iterable[InputFile]) -> AsyncIterator[tuple[InputFile, Answer]]:
    """Yield each file with its answer, in the order of the files, with `model.concurrency` of them in progress."""
    waiting: deque[tuple[InputFile, asyncio.Task[Answer]]] = deque()
    try:
        for file in files:
            waiting.append((file, asyncio.create_task(ask(model, file))))
            if len(waiting) >= model.concurrency:
                first, task = waiting.popleft()
                yield first, await task
        while waiting:
            first, task = waiting.popleft()
            yield first, await task
    finally:
        for _, task in waiting:
            task.cancel()
        await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)
