"""A model in this process, without HTTP: from uploads to the same outputs that the service has."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from service import engines
from service.engines import Engine, Images, eager
from service.imaging import decoder, preprocess
from service.imaging.decoder import ImageLimits
from service.models.cards import ModelCard
from service.tasks import PREDICT, operation_of
from service.tasks.base import Arrays
from service.tasks.scoring_base import PipelineOutput
from service.tasks.torch_head import BatchArrays


@dataclass(frozen=True)
class Prepared:
    """An upload as the network takes it, (h, w, 3) uint8, and its upright width and height in pixels."""

    pixels: Images
    width: int
    height: int


class Pipeline:
    """Decoding, preprocessing and the engine of one card, by the code that serves. `engine` runs `operation`."""

    def __init__(
        self, card: ModelCard, engine: Engine, limits: ImageLimits | None = None, operation: str = PREDICT
    ) -> None:
        self.card = card
        self._engine = engine
        self.limits = limits or ImageLimits()
        self.spec = operation_of(card, operation).input(card)

    @classmethod
    def load(cls, card: ModelCard, device: str | None = None, operation: str = PREDICT) -> Self:
        """Return the pipeline of a card, with its weights. Raises `CardError`."""
        if operation == PREDICT:
            return cls(card, engines.load(card, device))
        return cls(card, partial(eager.load(card, device), operation), operation=operation)

    def __call__(self, *uploads: bytes) -> list[PipelineOutput]:
        """Return the output for each upload. Raises what `decoder.decode` raises."""
        return self.infer([self.prepare(upload) for upload in uploads])

    def prepare(self, upload: bytes) -> Prepared:
        """Decode an upload and return the network's input. Raises what `decoder.decode` raises."""
        decoded = decoder.decode(upload, self.limits, needed=preprocess.needed_side(self.spec))
        return Prepared(preprocess.prepare(self.spec, decoded.image), decoded.width, decoded.height)

    def infer(self, prepared: Sequence[Prepared]) -> list[PipelineOutput]:
        """Return the output for each input. Inputs of the same shape go through the network together."""
        shapes: dict[tuple[int, ...], dict[int, Images]] = defaultdict(dict)
        for index, each in enumerate(prepared):
            shapes[each.pixels.shape][index] = each.pixels
        arrays: dict[int, Arrays] = {}
        for images in shapes.values():
            arrays |= zip(images, self._run(list(images.values())), strict=True)
        return [PipelineOutput(arrays[index], each.width, each.height) for index, each in enumerate(prepared)]

    def infer_batch(self, images: Images) -> BatchArrays:
        """Return the engine's outputs for prepared images of one shape, `(n, h, w, 3)`."""
        return self._engine(images)

    def _run(self, images: Sequence[Images]) -> list[Arrays]:
        batch = self.infer_batch(np.stack(images))
        return [{name: each[index] for name, each in batch.items()} for index in range(len(images))]
