"""A model in this process, without HTTP: bytes to the same answer that the service gives for them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import numpy.typing as npt

from service import engines
from service.engines import Arrays, Engine, Pictures, operations
from service.imaging import decoder, masks, preprocess
from service.imaging.decoder import ImageLimits
from service.models.cards import ModelCard
from service.tasks.operations import Question, input_of


@dataclass(frozen=True)
class Answer:
    """What a model says of one upload: its task's arrays, and the upright upload's size in pixels."""

    arrays: Arrays
    width: int
    height: int

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """The probability of each class, of a classification model."""
        return self.arrays["scores"]

    @property
    def mask(self) -> npt.NDArray[np.uint8]:
        """The class ids at the upload's size, of a segmentation model."""
        return masks.fit(self.arrays["mask"], self.width, self.height)

    @property
    def class_scores(self) -> npt.NDArray[np.float32]:
        """The mean probability of each class over its pixels, of a segmentation model."""
        return self.arrays["class_scores"]


@dataclass(frozen=True)
class Prepared:
    """An upload as the network takes it, (h, w, 3) uint8, and its upright size in pixels."""

    pixels: Pictures
    width: int
    height: int


class Pipeline:
    """Decoding, preparing and the engine of one card, by the code that serves; `engine` answers `question`."""

    def __init__(
        self, card: ModelCard, engine: Engine, limits: ImageLimits | None = None, question: Question = "answer"
    ) -> None:
        self.card = card
        self._engine = engine
        self._limits = limits or ImageLimits()
        self._input = input_of(card, question)

    @classmethod
    def load(cls, card: ModelCard, device: str | None = None, question: Question = "answer") -> Self:
        """The pipeline of a card, with its weights. Raises `CardError`."""
        if question == "answer":
            return cls(card, engines.load(card, device))
        return cls(card, partial(operations.load(card, device), question), question=question)

    def __call__(self, *uploads: bytes) -> list[Answer]:
        """An answer for each upload. Raises what `decoder.decode` raises."""
        return self.infer([self.prepare(upload) for upload in uploads])

    def prepare(self, upload: bytes) -> Prepared:
        """The network's input, decoded. Raises what `decoder.decode` raises."""
        decoded = decoder.decode(upload, self._limits, needed=preprocess.needed_side(self._input))
        return Prepared(preprocess.prepare(self._input, decoded.image), decoded.width, decoded.height)

    def infer(self, prepared: Sequence[Prepared]) -> list[Answer]:
        """An answer for each; those whose pictures have one shape go through the network together."""
        shapes: dict[tuple[int, ...], dict[int, Pictures]] = defaultdict(dict)
        for place, each in enumerate(prepared):
            shapes[each.pixels.shape][place] = each.pixels
        arrays: dict[int, Arrays] = {}
        for pictures in shapes.values():
            arrays |= zip(pictures, self._run(list(pictures.values())), strict=True)
        return [Answer(arrays[place], each.width, each.height) for place, each in enumerate(prepared)]

    def _run(self, pictures: Sequence[Pictures]) -> list[Arrays]:
        batch = self._engine(np.stack(pictures))
        return [{name: array[place] for name, array in batch.items()} for place in range(len(pictures))]
