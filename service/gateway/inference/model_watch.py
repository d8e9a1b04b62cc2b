"""The observed state of one model: its workers, and the probe that says whether they answer."""

import asyncio
import logging
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal

from PIL import Image

from service.config.outage import Outage
from service.gateway.backend.torchserve import Workers
from service.imaging import preprocess
from service.models.cards import ModelCard
from service.models.inputs import Input
from service.tasks.base import Pixels
from service.tasks.frame import Runtime

log = logging.getLogger(__name__)

State = Literal["ready", "loading", "unavailable", "refused"]

# Pixels, for networks that take any size: an image of a segmenter's full size occupies a CPU worker for half a minute.
PROBE_SIDE = 256


@dataclass
class ModelWatch:
    """The observed state of one model.

    `probed` are the workers that were ready when the last probe was sent, empty if it must be repeated. `confirmed`
    are those that were ready when the last answered probe was sent. `answered_at` is the loop time of that answer,
    `worker_bytes` the resident memory of the worker that gave it, and `runtime` what runs the model there. `failure` is
    why the last probe failed. A model that is not `is_served` is about to be served, or was served before: only its own
    requests see it.
    """

    card: ModelCard
    probe_image: Pixels
    workers: Workers
    confirmed: frozenset[Hashable] = frozenset()
    probed: frozenset[Hashable] = frozenset()
    answered_at: float = float("-inf")
    worker_bytes: int | None = None
    runtime: Runtime | None = None
    was_ready: bool = False
    outage: Outage = field(default_factory=lambda: Outage(log), repr=False)
    probe: asyncio.Task[None] | None = field(default=None, repr=False)
    failure: str = ""
    is_served: bool = True

    @property
    def answered(self) -> bool:
        """Whether a probe was answered while a worker was ready that still is."""
        return bool(self.confirmed & self.workers.ready)

    @property
    def state(self) -> State:
        """`loading` until the model is ready for the first time, `unavailable` if it is no longer ready.

        `refused` if the model servers have left it out.
        """
        if self.answered:
            return "ready"
        if self.workers.refused:
            return "refused"
        return "unavailable" if self.was_ready else "loading"


def watch_of(card: ModelCard, *, is_served: bool = True) -> ModelWatch:
    """Return the watch of a model about which nothing is known yet."""
    workers = Workers(frozenset(), card.serving.workers)
    return ModelWatch(card, _probe_image(card.input), workers, is_served=is_served)


def _probe_image(spec: Input) -> Pixels:
    """Return the network's input for the probe: the same gradients each time, small if the network takes any size."""
    if spec.profile == "proportional":  # the network takes any size
        spec = spec.model_copy(update={"size": min(spec.square, PROBE_SIDE)})
    gradient = Image.linear_gradient("L")
    image = Image.merge("RGB", (gradient, gradient.rotate(90), Image.radial_gradient("L")))
    return preprocess.prepare(spec, image)
