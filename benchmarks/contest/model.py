"""The model that every contestant runs: this project's decoder and engine, plain PyTorch, or the null model.

Environment variables select it: BENCH_KIND, BENCH_STORE and BENCH_MODEL. PORT is where the server listens.
"""

import base64
import io
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from service.imaging import masks, preprocess
from service.measure.pipeline import Pipeline, Prepared
from service.models import cards
from service.models.cards import ModelCard
from service.tasks.classification.task import CLASSIFICATION
from service.tasks.scoring_base import PipelineOutput
from service.tasks.segmentation.scoring import mask_of
from service.tasks.segmentation.task import SEGMENTATION
from tests.null_model.engine import NullEngine

TOP = 5
BATCH = 8
WAIT_MS = 4

Json = Any  # a value that can be encoded as JSON


class Model(Protocol):
    """The calls that a server makes: from an upload to an input, and from inputs to answers."""

    def decode(self, upload: bytes) -> Prepared:
        """Return the network's input."""

    def predict(self, inputs: Sequence[Prepared]) -> list[Json]:
        """Return the top classes of each image, or its mask and the classes in it."""


class Same:
    """This project's decoder and engine. The engine runs one batch at a time."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._lock = threading.Lock()

    def decode(self, upload: bytes) -> Prepared:
        """Decode and preprocess an upload with the serving code."""
        return self._pipeline.prepare(upload)

    def predict(self, inputs: Sequence[Prepared]) -> list[Json]:
        """Run one forward pass and return the answers."""
        with self._lock:
            outputs = self._pipeline.infer(inputs)
        return [ENCODERS[self._pipeline.card.task](self._pipeline.card, output) for output in outputs]


class Usual:
    """The code of tutorials: Pillow decodes at full size, the network is eager in single precision, without a lock."""

    def __init__(self, card: ModelCard) -> None:
        from service.engines import torch_cpu  # noqa: PLC0415 - the null model needs no torch

        self._card = card
        self._pipeline = Pipeline(card, torch_cpu.load(card, "cpu"))

    def decode(self, upload: bytes) -> Prepared:
        """Decode the image at full size and preprocess it."""
        from PIL import Image  # noqa: PLC0415

        image = Image.open(io.BytesIO(upload)).convert("RGB")
        return Prepared(preprocess.prepare(self._card.input, image), *image.size)

    def predict(self, inputs: Sequence[Prepared]) -> list[Json]:
        """Run one forward pass and return the answers."""
        return [ENCODERS[self._card.task](self._card, output) for output in self._pipeline.infer(inputs)]


def load(environment: os._Environ[str] = os.environ) -> Model:
    """Load the model that the environment selects."""
    card = cards.read(Path(environment["BENCH_STORE"]) / environment["BENCH_MODEL"])
    kinds: dict[str, Callable[[], Model]] = {
        "same": lambda: Same(Pipeline.load(card)),
        "null": lambda: Same(Pipeline(card, NullEngine(card.network.classes))),
        "usual": lambda: Usual(card),
    }
    return kinds[environment["BENCH_KIND"]]()


def top_classes(_: ModelCard, output: PipelineOutput) -> Json:
    """Return the classes with the highest scores."""
    scores = output.arrays["scores"]
    order = np.argsort(-scores, kind="stable")[:TOP]
    return [{"class_id": int(class_id), "score": round(float(scores[class_id]), 6)} for class_id in order]


def mask_and_segments(card: ModelCard, output: PipelineOutput) -> Json:
    """Return the mask at the upload's size as an indexed PNG, and the classes in it."""
    mask = mask_of(output)
    png = masks.png(mask, [label.color for label in card.classes])
    found = masks.segments(mask, output.arrays["class_scores"])
    segments = [{"class_id": each.class_id, "score": each.score, "pixels": each.pixels} for each in found]
    return {"mask": base64.b64encode(png).decode("ascii"), "segments": segments}


ENCODERS = {CLASSIFICATION.name: top_classes, SEGMENTATION.name: mask_and_segments}
