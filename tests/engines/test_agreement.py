"""Every engine against PyTorch in single precision, on the models that are served and on pictures as they come."""

import csv
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from service import cards, preprocess
from service.engines import Answers, Load, gpu_engine, openvino_engine, torch_engine
from service.engines.devices import Cpu
from tests.stores import serving

Pixels = npt.NDArray[np.uint8]

ROOT = Path(__file__).parents[2]
STORE = ROOT / "model_store"
PHOTOS = ROOT.parent / "shared" / "data" / "starter-photos"
COUNT = {"starter-classifier": 200, "starter-segmenter": 40}
ENGINES: dict[str, Load] = {
    "openvino": openvino_engine.load,
    "torch": torch_engine.load,
    "gpu engine": lambda card, _: gpu_engine.load(serving(card, batch_size=1), "cpu", lambda _: Cpu()),
    "cuda": lambda card, _: gpu_engine.load(card, "cuda"),
}
NEEDS_CUDA = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
ENGINES_AND_PRECISIONS = [
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("torch", "bf16"),
    ("gpu engine", "bf16"),
    pytest.param("cuda", "fp32", marks=NEEDS_CUDA),
    pytest.param("cuda", "bf16", marks=NEEDS_CUDA),
]
# Mean absolute difference of scores. The seven or three classes of the starter models have larger scores, and so
# larger differences, than the thousand of the published ones.
TOLERANCE = {"fp32": 1e-4, "bf16": 5e-3}
EQUAL = 0.995  # of the pictures' likeliest labels, and of the masks' pixels


def sources(count: int) -> Iterator[Image.Image]:
    """Photographs of the test split where they are here, else parts of the example, turned and darkened."""
    if PHOTOS.is_dir():
        with (PHOTOS / "index.csv").open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
        for row in rows[:: len(rows) // count][:count]:
            with Image.open(PHOTOS / row["image"]) as opened:
                yield opened.convert("RGB")
        return
    with Image.open(STORE / "example.jpg") as opened:
        whole = opened.convert("RGB")
    random = np.random.default_rng(0)
    for _ in range(count):
        side = int(random.integers(60, min(whole.size)))
        left, top = (int(random.integers(0, length - side + 1)) for length in whole.size)
        part = whole.crop((left, top, left + side, top + int(side * random.uniform(0.6, 1)))).rotate(
            90 * int(random.integers(4)), expand=True
        )
        yield part.point((np.arange(256) * random.uniform(0.3, 1)).astype(np.uint8).tolist() * 3)


@cache
def prepared(name: str) -> tuple[Pixels, ...]:
    card = cards.read(STORE / name)
    return tuple(preprocess.prepare(card.input, picture) for picture in sources(COUNT[name]))


@cache
def expected(name: str) -> tuple[Answers, ...]:
    engine = torch_engine.load(serving(cards.read(STORE / name), precision="fp32"), "cpu")
    return tuple(engine(picture[None]) for picture in prepared(name))


def answered(name: str, engine_name: str, precision: str) -> tuple[Answers, ...]:
    engine = ENGINES[engine_name](serving(cards.read(STORE / name), precision=precision), "cpu")
    return tuple(engine(picture[None]) for picture in prepared(name))


def together(answers: tuple[Answers, ...], array: str) -> npt.NDArray[Any]:
    return np.concatenate([each[array].reshape(-1) for each in answers])


@pytest.mark.parametrize(("engine", "precision"), ENGINES_AND_PRECISIONS)
def test_the_classifier_answers_as_torch_in_single_precision(engine: str, precision: str) -> None:
    name = "starter-classifier"
    ours, theirs = answered(name, engine, precision), expected(name)
    difference = np.abs(together(ours, "scores") - together(theirs, "scores"))
    same = [a["scores"].argmax() == b["scores"].argmax() for a, b in zip(ours, theirs, strict=True)]
    assert difference.mean() <= TOLERANCE[precision]
    assert np.mean(same) >= EQUAL
    assert len({int(each["scores"].argmax()) for each in theirs}) > 2


@pytest.mark.parametrize(("engine", "precision"), ENGINES_AND_PRECISIONS)
def test_the_segmenter_answers_as_torch_in_single_precision(engine: str, precision: str) -> None:
    name = "starter-segmenter"
    ours, theirs = answered(name, engine, precision), expected(name)
    assert np.mean(together(ours, "mask") == together(theirs, "mask")) >= EQUAL
    difference = np.abs(together(ours, "class_scores") - together(theirs, "class_scores"))
    assert difference.mean() <= TOLERANCE[precision]
    assert len({picture.shape for picture in prepared(name)}) > 2
