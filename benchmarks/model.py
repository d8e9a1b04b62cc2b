"""The one model that every contestant runs: this project's decoding and engine, or a plain one, or none.

The servers choose by environment variables: BENCH_KIND, BENCH_STORE, BENCH_MODEL, PORT.
"""

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from service import cards, preprocess
from service.cards import ModelCard
from service.engines import Answers, Pictures
from service.pipeline import Pipeline

TOP = 5
BATCH = 8
WAIT_MS = 4

Told = list[dict[str, Any]]


class Model(Protocol):
    """What a server calls: an upload to an input, inputs to answers."""

    def decode(self, upload: bytes) -> Any:
        """The network's input."""

    def predict(self, inputs: Sequence[Any]) -> list[Told]:
        """The best classes of each."""


class Null:
    """An engine that computes next to nothing, and whose answers still belong to their pictures."""

    def __init__(self, classes: int) -> None:
        self._weights = np.random.default_rng(0).normal(size=(3, classes)).astype(np.float32)

    def __call__(self, pictures: Pictures) -> Answers:
        """`scores` of the colours of 64 pixels of each picture."""
        colours = pictures[:, ::28, ::28].astype(np.float32).mean(axis=(1, 2)) / 255
        powers = np.exp(colours @ self._weights)
        return {"scores": powers / powers.sum(axis=1, keepdims=True)}


class Same:
    """This project's decoding and engine."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def decode(self, upload: bytes) -> Any:
        """By the code that serves."""
        return self._pipeline.prepare(upload)

    def predict(self, inputs: Sequence[Any]) -> list[Told]:
        """One forward pass."""
        return [best(answer.scores) for answer in self._pipeline.infer(inputs)]


class Usual:
    """What tutorials write: Pillow in full, a float tensor each, an eager network in single precision."""

    def __init__(self, card: ModelCard) -> None:
        from service.engines import torch_engine  # noqa: PLC0415 - the null model needs no torch

        self._card = card
        self._engine = torch_engine.load(card, "cpu")

    def decode(self, upload: bytes) -> Any:
        """The whole picture, whatever its size."""
        from PIL import Image  # noqa: PLC0415

        return preprocess.prepare(self._card.input, Image.open(io.BytesIO(upload)).convert("RGB"))

    def predict(self, inputs: Sequence[Any]) -> list[Told]:
        """One forward pass."""
        return [best(scores) for scores in self._engine(np.stack(inputs))["scores"]]


def load(environment: os._Environ[str] = os.environ) -> Model:
    """The model that the environment asks for."""
    card = cards.read(Path(environment["BENCH_STORE"]) / environment["BENCH_MODEL"])
    kinds: dict[str, Callable[[], Model]] = {
        "same": lambda: Same(Pipeline.load(card)),
        "null": lambda: Same(Pipeline(card, Null(card.network.classes))),
        "usual": lambda: Usual(card),
    }
    return kinds[environment["BENCH_KIND"]]()


def best(scores: npt.NDArray[Any]) -> Told:
    """The best classes with their scores."""
    order = np.argsort(-scores, kind="stable")[:TOP]
    return [{"class_id": int(place), "score": round(float(scores[place]), 6)} for place in order]
