"""A model that this process loads, with the code that serves it: from an upload to the members of a JSON answer."""
# ruff: noqa: PLC0415 - torch is loaded only if a model is

import asyncio
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import orjson

from service.cli.predict.failures import RunFailedError
from service.errors import ServiceError
from service.host.run_options import RunOptions
from service.host.served_models.selection import select_models
from service.models.cards import ModelCard
from service.tasks import TASKS, can_run, decode_jobs
from service.tasks.base import Drawn, Endpoint, ModelOutput, Rendering

if TYPE_CHECKING:
    from service.measure.pipeline import Pipeline

AT_ONCE: Final = 2  # one image is decoded while the network computes another
NUMPY: Final = orjson.OPT_SERIALIZE_NUMPY


def choose(
    endpoint: Endpoint[Any], store: Path, name: str | None, operation: str, say: Callable[[str], Any]
) -> ModelCard:
    """Return the card of the named model, or the default of the endpoint's task. Raises `RunFailedError`."""
    task = next(task for task in TASKS.values() if endpoint in task.endpoints)
    cards = select_models(RunOptions(store, (name,) if name else ()), say)
    fitting = [card for card in cards if card.task == task.name and can_run(card, operation)]
    if not fitting:
        there = ", ".join(f"{card.name} ({card.task})" for card in cards)
        raise RunFailedError(f"no model in {store} can answer {endpoint.name}; the models are {there}")
    return fitting[0]


class LocalModel:
    """An endpoint with one query and one model in this process."""

    concurrency = AT_ONCE
    set_aside = 0

    def __init__(self, card: ModelCard, pipeline: "Pipeline", rendering: Rendering, lang: str | None = None) -> None:
        self._card = card
        self._named = card.in_language([lang] if lang else [])
        self._pipeline = pipeline
        self._rendering = rendering
        self._engine = threading.Lock()

    @classmethod
    def load(
        cls, endpoint: Endpoint[Any], query: Mapping[str, Any], store: Path, say: Callable[[str], Any] = lambda _: None
    ) -> Self:
        """Return the model that the query names, with its weights. Raises `CardError` and `RunFailedError`."""
        from service.measure.pipeline import Pipeline

        checked = endpoint.query.model_validate(query)
        names = getattr(checked, "model", [])
        card = choose(endpoint, store, names[0] if names else None, endpoint.operation(checked), say)
        try:
            rendering = endpoint.plan([card], checked)
        except ServiceError as error:
            raise RunFailedError(f"{card.name}: {error.detail}") from error
        pipeline = Pipeline.load(card, operation=rendering.operation)
        return cls(card, pipeline, rendering, getattr(checked, "lang", None))

    async def __aenter__(self) -> Self:
        """Return the model, which is loaded already."""
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Do nothing: the model ends with the process."""

    async def answer(self, upload: bytes, name: str = "") -> dict[str, Any]:
        """Return the members of an image's answer, or `error` with its problem document."""
        return await asyncio.to_thread(self._answer, upload)

    def _answer(self, upload: bytes) -> dict[str, Any]:
        from service.measure.pipeline import Prepared

        try:
            facts, inputs = decode_jobs.prepare(upload, self._pipeline.limits, [self._pipeline.spec])
            pixels = np.asarray(inputs[0], np.uint8)  # they are pixels: no block of shared memory was given
            with self._engine:
                (found,) = self._pipeline.infer([Prepared(pixels, facts.width, facts.height)])
            output = ModelOutput(found.arrays, 1, 0.0)
            layers = self._rendering.layers(self._card, facts, output)  # as the service: in the model's language
            files = decode_jobs.draw(upload, self._pipeline.limits, layers) if layers else ()
            members = self._rendering.members(self._named, facts, output, Drawn(files))
        except ServiceError as error:
            return {"error": error.problem()}
        document = {
            "model": {"name": self._card.name, "version": self._card.version, "task": self._card.task},
            "image": {"width": facts.width, "height": facts.height, "format": facts.format, "mode": facts.mode},
            **members,
            "warnings": [*facts.warnings, *members.get("warnings", ())],
        }
        plain: dict[str, Any] = orjson.loads(orjson.dumps(document, option=NUMPY))
        return plain
