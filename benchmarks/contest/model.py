"""The one model that every contestant runs: this project's decoding and engine, or a plain one, or none.

The servers choose by environment variables: BENCH_KIND, BENCH_STORE, BENCH_MODEL, PORT.
"""

import base64
import io
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from service.engines import Images
from service.imaging import masks, preprocess
from service.measure.pipeline import Pipeline, Prepared
from service.models import cards
from service.models.cards import ModelCard
from service.tasks.classification.task import CLASSIFICATION
from service.tasks.scoring_base import PipelineOutput
from service.tasks.segmentation.scoring import mask_of
from service.tasks.segmentation.task import SEGMENTATION
from service.tasks.torch_head import BatchArrays

TOP = 5
BATCH = 8
WAIT_MS = 4
BATCH_S, PICTURE_S = 0.003, 0.0085  # 11.5 ms alone, 71 ms for eight: near ResNeSt-50 with OpenVINO on two quiet cores

Told = Any  # what becomes JSON


class Model(Protocol):
    """What a server calls: an upload to an input, inputs to answers."""

    def decode(self, upload: bytes) -> Prepared:
        """The network's input."""

    def predict(self, inputs: Sequence[Prepared]) -> list[Told]:
        """The best classes of each, or its mask and the classes in it."""


class Null:
    """An engine that computes next to nothing, and whose answers still belong to their pictures."""

    def __init__(self, classes: int) -> None:
        self._weights = np.random.default_rng(0).normal(size=(3, classes)).astype(np.float32)

    def __call__(self, pictures: Images) -> BatchArrays:
        """`scores` of the colours of 64 pixels of each picture."""
        colours = pictures[:, ::28, ::28].astype(np.float32).mean(axis=(1, 2)) / 255
        powers = np.exp(colours @ self._weights)
        return {"scores": powers / powers.sum(axis=1, keepdims=True)}


class Paced:
    """The null model, after as long as a real one would take."""

    def __init__(self, classes: int) -> None:
        self._null = Null(classes)

    def __call__(self, pictures: Images) -> BatchArrays:
        """As `Null`."""
        time.sleep(BATCH_S + PICTURE_S * len(pictures))
        return self._null(pictures)


class Same:
    """This project's decoding and engine, which has one caller at a time."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._turn = threading.Lock()

    def decode(self, upload: bytes) -> Prepared:
        """By the code that serves."""
        return self._pipeline.prepare(upload)

    def predict(self, inputs: Sequence[Prepared]) -> list[Told]:
        """One forward pass."""
        with self._turn:
            answers = self._pipeline.infer(inputs)
        return [TELLERS[self._pipeline.card.task](self._pipeline.card, answer) for answer in answers]


class Usual:
    """What tutorials write: Pillow in full, an eager network in single precision, as many callers as there are."""

    def __init__(self, card: ModelCard) -> None:
        from service.engines import torch_cpu  # noqa: PLC0415 - the null model needs no torch

        self._card = card
        self._pipeline = Pipeline(card, torch_cpu.load(card, "cpu"))

    def decode(self, upload: bytes) -> Prepared:
        """The whole picture, whatever its size."""
        from PIL import Image  # noqa: PLC0415

        picture = Image.open(io.BytesIO(upload)).convert("RGB")
        return Prepared(preprocess.prepare(self._card.input, picture), *picture.size)

    def predict(self, inputs: Sequence[Prepared]) -> list[Told]:
        """One forward pass."""
        return [TELLERS[self._card.task](self._card, answer) for answer in self._pipeline.infer(inputs)]


def load(environment: os._Environ[str] = os.environ) -> Model:
    """The model that the environment asks for."""
    card = cards.read(Path(environment["BENCH_STORE"]) / environment["BENCH_MODEL"])
    kinds: dict[str, Callable[[], Model]] = {
        "same": lambda: Same(Pipeline.load(card)),
        "null": lambda: Same(Pipeline(card, Null(card.network.classes))),
        "usual": lambda: Usual(card),
    }
    return kinds[environment["BENCH_KIND"]]()


def best(_: ModelCard, output: PipelineOutput) -> Told:
    """The best classes with their scores."""
    scores = output.arrays["scores"]
    order = np.argsort(-scores, kind="stable")[:TOP]
    return [{"class_id": int(class_id), "score": round(float(scores[class_id]), 6)} for class_id in order]


def areas(card: ModelCard, output: PipelineOutput) -> Told:
    """The mask at the upload's size as an indexed PNG, and the classes in it: what this service answers, in short."""
    mask = mask_of(output)
    png = masks.png(mask, [label.color for label in card.classes])
    regions = masks.regions(mask, output.arrays["class_scores"])
    segments = [{"class_id": each.class_id, "score": each.score, "pixels": each.pixels} for each in regions]
    return {"mask": base64.b64encode(png).decode("ascii"), "segments": segments}


TELLERS = {CLASSIFICATION.name: best, SEGMENTATION.name: areas}
