"""Every engine agrees with PyTorch in single precision, on the starter models and on real photographs."""

import csv
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from service.engines import Load, by_openvino, by_torch, torch_cpu
from service.engines.cuda import engine as cuda_engine
from service.engines.cuda.device import Cpu
from service.engines.openvino import engine as openvino_engine
from service.imaging import preprocess
from service.measure.accuracy.scoring import scoring_of
from service.models import cards
from service.tasks.classification.domain import sign_of
from service.tasks.detection.scoring import CONFIDENT
from service.tasks.torch_head import BatchArrays
from tests.engines import numerics
from tests.stores import serving

Pixels = npt.NDArray[np.uint8]

ROOT = Path(__file__).parents[2]
STORE = ROOT / "model_store"
PHOTOS = ROOT.parent / "shared" / "data" / "starter-photos"
CLASSIFIER, IMAGES = "starter-classifier", 32
SEGMENTER, SEGMENTER_IMAGES = "starter-segmenter", 6
# An image takes 25 ms of a classifier and 0.15 s of a segmenter, whose images have thousands of pixels to compare.
MODELS = [
    (CLASSIFIER, IMAGES),
    (SEGMENTER, SEGMENTER_IMAGES),
    pytest.param(CLASSIFIER, 200, marks=pytest.mark.stress),
    pytest.param(SEGMENTER, 40, marks=pytest.mark.stress),
]
# PyTorch takes 5 to 10 s for one image in bfloat16 on a processor that does not multiply it.
SLOW_COUNT = {CLASSIFIER: 4, SEGMENTER: 2}
DETECTOR, DETECTOR_IMAGES = "starter-detector", 4
# Of confident detections: the least share that both find, the largest mean difference of scores and of masks (of 1).
DETECTIONS = {"fp32": (0.995, 1e-4, 1e-3), "bf16": (0.95, 5e-3, 0.03)}
LOGIT_TOLERANCE = {"fp32": 1e-3, "bf16": 0.05}  # of the mean difference; the largest logits are 1 to 6
ENGINES: dict[str, Load] = {
    "openvino": openvino_engine.load,
    "torch": torch_cpu.load,
    "gpu engine": lambda card, _: cuda_engine.load(serving(card, batch_size=1), "cpu", lambda _: Cpu()),
    "cuda": lambda card, _: cuda_engine.load(card, "cuda"),
}
NEEDS_CUDA = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
NEEDS_BFLOAT16 = pytest.mark.skipif(
    not torch_cpu.multiplies_bfloat16(), reason="needs a processor that multiplies bfloat16: it times many passes"
)
ENGINES_AND_PRECISIONS = [
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("torch", "bf16"),
    pytest.param("gpu engine", "bf16", marks=NEEDS_BFLOAT16),
    pytest.param("cuda", "fp32", marks=NEEDS_CUDA),
    pytest.param("cuda", "bf16", marks=NEEDS_CUDA),
]


def sources(count: int, labels: Collection[str]) -> Iterator[Image.Image]:
    """Yield photographs of these labels if they are here, and else parts of the example, rotated and darkened.

    They are of the test split.
    """
    if PHOTOS.is_dir():
        with (PHOTOS / "index.csv").open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == "test" and row["label"] in labels]
        for row in rows[:: len(rows) // count][:count]:
            with Image.open(PHOTOS / row["image"]) as opened:
                yield opened.convert("RGB")
        return
    yield from numerics.parts(count)


@cache
def prepared(name: str, images: int) -> tuple[Pixels, ...]:
    card = cards.read(STORE / name)
    shown = cards.read(STORE / (DETECTOR if name == DETECTOR else CLASSIFIER)).classes
    found = sources(images, {each.label for each in shown})
    return tuple(preprocess.prepare(card.input, image) for image in found)


@cache
def expected(name: str, images: int) -> tuple[BatchArrays, ...]:
    engine = torch_cpu.load(serving(cards.read(STORE / name), precision="fp32"), "cpu")
    return tuple(engine(image[None]) for image in prepared(name, images))


@cache
def outputs(name: str, images: int, engine_name: str, precision: str) -> tuple[BatchArrays, ...]:
    slow = engine_name == "torch" and precision == "bf16" and not torch_cpu.multiplies_bfloat16()
    count = SLOW_COUNT[name] if slow else images
    engine = ENGINES[engine_name](serving(cards.read(STORE / name), precision=precision), "cpu")
    return tuple(engine(image[None]) for image in prepared(name, images)[:count])


@pytest.mark.parametrize(("engine", "precision"), ENGINES_AND_PRECISIONS)
@pytest.mark.parametrize(("name", "images"), MODELS)
def test_a_model_answers_as_torch_in_single_precision(name: str, images: int, engine: str, precision: str) -> None:
    task = cards.read(STORE / name).task
    ours = outputs(name, images, engine, precision)
    found = numerics.compare(ours, expected(name, images)[: len(ours)], scoring_of(task))
    assert found.holds(precision), found


@pytest.mark.parametrize(("engine", "precision"), ENGINES_AND_PRECISIONS)
def test_an_image_is_unknown_in_each_engine_alike(engine: str, precision: str) -> None:
    calibration = cards.read(STORE / CLASSIFIER).calibration
    assert calibration
    sign, least = sign_of(calibration)
    ours = outputs(CLASSIFIER, IMAGES, engine, precision)
    theirs = expected(CLASSIFIER, IMAGES)[: len(ours)]

    def numbers(found: Sequence[BatchArrays], output: str) -> np.ndarray[Any, Any]:
        return np.array([float(each[output][0, 0]) for each in found])

    differences = np.abs(numbers(ours, "max_logit") - numbers(theirs, "max_logit"))
    assert differences.mean() <= LOGIT_TOLERANCE[precision]
    assert ((numbers(ours, sign) < least) == (numbers(theirs, sign) < least)).mean() >= 0.98


@pytest.mark.parametrize("precision", DETECTIONS)
def test_a_detector_finds_the_objects_and_masks_that_torch_finds_in_single_precision(precision: str) -> None:
    card = cards.read(STORE / DETECTOR)
    engine, reference = by_openvino(serving(card, precision=precision), "cpu"), expected_detections()
    ours = tuple(engine(image[None]) for image in prepared(DETECTOR, DETECTOR_IMAGES))
    found = numerics.compare(ours, reference, scoring_of(card.task))
    same, difference, of_masks = DETECTIONS[precision]

    assert sum(int((each["scores"][0] >= CONFIDENT).sum()) for each in reference) >= DETECTOR_IMAGES // 2
    assert found.equal >= same, found
    assert found.difference <= difference, found
    assert max(mask_differences(ours, reference)) <= of_masks


@cache
def expected_detections() -> tuple[BatchArrays, ...]:
    engine = by_torch(serving(cards.read(STORE / DETECTOR), precision="fp32"), "cpu")
    return tuple(engine(image[None]) for image in prepared(DETECTOR, DETECTOR_IMAGES))


def mask_differences(ours: Sequence[BatchArrays], theirs: Sequence[BatchArrays]) -> list[float]:
    """Return the mean difference of the masks, as probabilities, of the best detection in each image with any."""
    pairs = [(one["masks"][0], other["masks"][0]) for one, other in zip(ours, theirs, strict=True)]
    return [float(np.abs(one[0] / 255 - other[0] / 255).mean()) for one, other in pairs if len(other)]


def test_the_pictures_have_several_labels_and_shapes() -> None:
    assert len({int(each["scores"].argmax()) for each in expected(CLASSIFIER, IMAGES)}) > 2
    assert len({image.shape for image in prepared(SEGMENTER, SEGMENTER_IMAGES)}) > 2
