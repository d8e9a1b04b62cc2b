"""Logits to outputs, compared with a direct computation, and in bounded memory."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from service.engines import eager, graph, torch_cpu
from service.imaging import decoder, preprocess
from service.imaging.decoder import ImageLimits
from service.models import cards
from service.networks import build
from service.networks.segmentation import Segmenter
from service.tasks.classification import head as classification_head
from service.tasks.segmentation import head
from service.tasks.torch_head import LoadedNetwork

Pixels = npt.NDArray[np.uint8]
SIZE = (90, 68)  # all its pixels count in the scores of 255 classes
STORE = Path(__file__).parents[3] / "model_store"


def upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(logits, size, mode="bilinear", align_corners=True)


def logits(classes: int, images: int = 2) -> Tensor:
    return 4 * torch.randn(images, classes, 9, 7, generator=torch.Generator().manual_seed(classes))


@pytest.mark.parametrize("classes", [1, 3, 150, 255])
def test_masks_and_scores_are_those_of_the_whole_softmax(classes: int) -> None:
    found = head.segment(upsample, logits(classes), SIZE)
    likely, mask = upsample(logits(classes), SIZE).softmax(dim=1).max(dim=1)
    assert torch.equal(found["mask"], mask.to(torch.uint8))
    for index in range(2):
        own = [likely[index][mask[index] == each] for each in range(classes)]
        expected = torch.stack([each.mean() if len(each) else torch.zeros(()) for each in own])
        torch.testing.assert_close(found["class_scores"][index], expected, atol=1e-5, rtol=0)


def test_the_plain_search_takes_classes_together_as_far_as_there_is_room() -> None:
    counts: list[int] = []

    def measured(part: Tensor, size: tuple[int, int]) -> Tensor:
        counts.append(part.shape[1])
        return upsample(part, size)

    found = head.upsampled_argmax(measured, logits(150, 1)[0], (520, 520))
    assert sum(counts) == 150
    assert max(counts) * 4 * 520 * 520 <= head.ROOM
    assert len(counts) < 15
    assert torch.equal(found, upsample(logits(150, 1), (520, 520)).argmax(dim=1)[0].to(torch.uint8))


def test_in_the_plain_search_a_picture_larger_than_the_room_goes_class_by_class() -> None:
    side = 2100
    assert 4 * side * side > head.ROOM
    found = head.upsampled_argmax(upsample, logits(2, 1)[0], (side, side))
    assert torch.equal(found, upsample(logits(2, 1), (side, side)).argmax(dim=1)[0].to(torch.uint8))


@pytest.mark.parametrize("classes", [3, 150])
def test_both_searches_find_one_mask(classes: int) -> None:
    found = head.upsampled_argmax(upsample, logits(classes, 1)[0], SIZE)
    assert torch.equal(found, head.segment(upsample, logits(classes, 1), SIZE)["mask"][0])


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [SIZE, (520, 520)])
def test_a_logit_that_is_not_finite_makes_every_score_nan(wrong: float, size: tuple[int, int]) -> None:
    coarse = logits(150, 1)
    coarse[0, 3, 4, 5] = wrong
    assert head.segment(upsample, coarse, size)["class_scores"].isnan().all()


def test_the_starter_segmenters_mask_is_that_of_all_upsampled_logits() -> None:
    card = cards.read(STORE / "starter-segmenter")
    built = graph.build(card)
    image = preprocess.prepare(card.input, decoder.decode((STORE / "example.jpg").read_bytes(), ImageLimits()).image)
    with torch.inference_mode():
        coarse = built(torch.from_numpy(image[None].copy()))
    size = image.shape[:2]
    assert isinstance(built.network, Segmenter)
    found = head.HEAD.postprocess(card, built.network)(coarse, size)["mask"]
    assert len(found.unique()) > 1
    assert torch.equal(found, built.network.upsample(coarse, size).argmax(dim=1).to(torch.uint8))


def test_of_equal_classes_the_lowest_is_taken() -> None:
    same = torch.zeros(1, 150, 65, 65)
    found = head.segment(upsample, same, (520, 520))
    assert not found["mask"].any()
    assert found["class_scores"][0, 0].item() == pytest.approx(1 / 150)


def test_a_class_without_pixels_scores_nothing() -> None:
    coarse = torch.zeros(1, 150, 4, 4)
    coarse[:, 7] = 3
    found = head.segment(upsample, coarse, (8, 8))
    assert (found["mask"] == 7).all()
    expected = torch.zeros(1, 150)
    expected[0, 7] = float(np.exp(3) / (np.exp(3) + 149))
    torch.testing.assert_close(found["class_scores"], expected)


def test_half_precision_logits_are_summed_in_single() -> None:
    half = logits(150).bfloat16()
    found = head.segment(upsample, half, SIZE)
    assert torch.equal(found["mask"], head.segment(upsample, half.float(), SIZE)["mask"])
    assert classification_head.probabilities(half[:, :, 0, 0], SIZE)["scores"].dtype == torch.float32


def test_a_network_is_finished_by_its_task() -> None:
    with torch.device("meta"):
        segmenter, classifier = build("fcn_resnest14", 3), build("resnest14", 3)
    card = cards.read(STORE / "starter-segmenter")
    assert head.HEAD.postprocess(card, segmenter)(logits(3), SIZE)["mask"].shape == (2, *SIZE)
    scores = classification_head.HEAD.postprocess(card, classifier)(torch.tensor([[0.0, 0.0, np.log(2)]]), SIZE)[
        "scores"
    ]
    torch.testing.assert_close(scores, torch.tensor([[0.25, 0.25, 0.5]]))


class Coarse:
    """A segmenter whose logits are given."""

    def __init__(self, coarse: Tensor) -> None:
        self._coarse = coarse
        self.upsample = upsample

    def coarse(self, _x: Tensor) -> Tensor:
        return self._coarse


class LargestTensor(TorchDispatchMode):
    """Records the bytes of the largest tensor that any operation returns."""

    largest = 0

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for each in found if isinstance(found, tuple | list) else (found,):
            if isinstance(each, Tensor):
                self.largest = max(self.largest, each.untyped_storage().nbytes())
        return found


def confidence_of(coarse: Tensor, size: tuple[int, int]) -> dict[str, Any]:
    card = cards.read(STORE / "starter-segmenter")
    loaded = LoadedNetwork(Coarse(coarse), card, torch.zeros(1, 3, 1, 1))
    return head.HEAD.operations["predict_confidence"](loaded, torch.zeros(len(coarse), 3, *size))


@pytest.mark.parametrize("size", [SIZE, (264, 200)])
@pytest.mark.parametrize("classes", [1, 3, 150, 255])
def test_the_confidence_is_that_of_the_whole_softmax(classes: int, size: tuple[int, int]) -> None:
    found = confidence_of(logits(classes), size)

    likely, mask = upsample(logits(classes), size).softmax(dim=1).max(dim=1)
    assert torch.equal(found["mask"], mask.to(torch.uint8))
    assert (found["confidence"].int() - (likely * 255).round().int()).abs().max() <= 1
    assert (found["confidence"] == (likely * 255).round()).float().mean() > 0.99
    for index in range(2):
        own = [likely[index][mask[index] == each] for each in range(classes)]
        expected = torch.stack([each.mean() if len(each) else torch.zeros(()) for each in own])
        torch.testing.assert_close(found["class_scores"][index], expected, atol=1e-5, rtol=0)


def test_the_confidence_of_many_classes_takes_no_more_memory_than_there_is_room() -> None:
    coarse, size = logits(150, 2), (512, 1024)
    with LargestTensor() as seen:  # type: ignore[no-untyped-call]
        confidence_of(coarse, size)

    assert 4 * 150 * size[0] * size[1] > 10 * head.ROOM, "all upsampled logits of one image"
    assert 0 < seen.largest <= head.ROOM


def test_a_confidence_of_logits_that_are_not_finite_makes_every_score_nan() -> None:
    coarse = logits(150, 1)
    coarse[0, 3, 4, 5] = np.nan

    assert confidence_of(coarse, (264, 200))["class_scores"].isnan().all()


def test_the_confidence_is_that_of_the_engines_mask(store: Path, images: Pixels) -> None:
    card = cards.read(store / "tiny-segmenter")
    found = eager.load(card, "cpu")("predict_confidence", images)
    answer = torch_cpu.load(card, "cpu")(images)
    assert (found["mask"] == answer["mask"]).mean() > 0.99
    np.testing.assert_allclose(found["class_scores"], answer["class_scores"], atol=1e-3)
    for mask, likely, scores in zip(found["mask"], found["confidence"], found["class_scores"], strict=True):
        for class_id in np.unique(mask):
            assert likely[mask == class_id].mean() / 255 == pytest.approx(scores[class_id], abs=3e-3)
