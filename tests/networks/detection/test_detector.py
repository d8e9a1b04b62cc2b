from dataclasses import replace

import pytest
import torch
from torch import Tensor

from service.networks.detection import anchors, boxes
from service.networks.detection.detector import Detector, ImageGeometry, Instances, Networks, detect
from service.networks.detection.spec import AUTHORS, DETECTORS, MMDET, DetectorSpec, Rules
from service.networks.detection.trunk import TrunkOutput

CLASSES = 3
SIZE = (96, 128)
GEOMETRY = ImageGeometry((90, 120), (180, 240))


def small(name: str) -> DetectorSpec:
    return replace(DETECTORS[name], backbone=DETECTORS[name].backbone.replace("50", "14"), channels=8, hidden=16)


@pytest.fixture
def image() -> Tensor:
    return torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", [name for name in DETECTORS if name.endswith("resnest50")])
def test_boxes_lie_in_the_upload_and_masks_are_probabilities(name: str, image: Tensor) -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        found = Detector(small(name), CLASSES).eval()(image, GEOMETRY, proposals=50)
    kept = found.detections
    assert 0 < len(kept.scores) <= 100
    assert kept.boxes.min() >= 0
    assert (kept.boxes[:, 2] <= 240).all()
    assert (kept.boxes[:, 3] <= 180).all()
    assert (kept.scores[:-1] >= kept.scores[1:]).all()
    assert set(kept.class_ids.tolist()) <= set(range(CLASSES))
    assert (found.masks is None) == ("mask" not in name)
    if found.masks is not None:
        assert found.masks.shape == (len(kept.scores), 28, 28)
        assert ((found.masks >= 0) & (found.masks <= 1)).all()


class Scripted:
    """Networks whose outputs are given: one certain proposal, then the logits and deltas of each stage."""

    def __init__(self, stages: list[tuple[list[float], list[float]]], masks: list[Tensor] | None = None) -> None:
        self._stages = stages
        self.networks = Networks(
            self._trunk,
            [lambda regions, stage=stage: self._head(regions, *stage) for stage in stages],  # type: ignore[misc]
            [lambda _regions, mask=mask: mask for mask in masks or []],  # type: ignore[misc]
        )

    def _trunk(self, image: Tensor) -> TrunkOutput:
        sides = [(image.shape[2] // stride, image.shape[3] // stride) for stride in anchors.STRIDES[:4]]
        p2, p3, p4, p5 = (torch.zeros(1, 4, *each) for each in sides)
        levels = [*sides, (-(-sides[-1][0] // 2), -(-sides[-1][1] // 2))]
        count = sum(3 * rows * columns for rows, columns in levels)
        objectness = torch.full((count,), float("-inf"))  # only the chosen anchor is finite
        objectness[self.chosen(levels)] = 5.0
        return TrunkOutput(p2, p3, p4, p5, objectness, torch.zeros(count, 4))

    @staticmethod
    def chosen(levels: list[tuple[int, int]]) -> int:
        """Return the square anchor of P3 in row 3 and column 4: from (0, -8) to (64, 56)."""
        (rows, columns), (_, width) = levels[:2]
        return 3 * (rows * columns + 3 * width + 4) + 1

    @staticmethod
    def _head(regions: Tensor, logits: list[float], deltas: list[float]) -> tuple[Tensor, Tensor]:
        return torch.tensor(logits).expand(len(regions), -1), torch.tensor(deltas).expand(len(regions), -1)

    def run(self, rules: Rules, geometry: ImageGeometry = GEOMETRY) -> Instances:
        return detect(self.networks, rules, torch.zeros(1, 3, *SIZE), geometry)


REGION = torch.tensor([[0.0, 0.0, 64.0, 56.0]])  # clipped to the image


@pytest.mark.parametrize("rules", [AUTHORS, MMDET], ids=["authors", "mmdet"])
def test_a_box_is_scaled_to_the_upload(rules: Rules) -> None:
    found = Scripted([([0, 3, 0, 0], [0.0] * 12)]).run(rules).detections
    assert found.boxes[0].tolist() == [0, 0, 128, 112]
    assert found.class_ids[0] == 1


def test_the_background_is_no_detection() -> None:
    assert len(Scripted([([0, 0, 0, 9], [0.0] * 12)]).run(AUTHORS).detections.scores) == 0


def test_a_region_may_be_detected_as_several_classes() -> None:
    found = Scripted([([2, 2, -9, 0], [0.0] * 12)]).run(AUTHORS).detections
    assert found.class_ids.tolist() == [0, 1]


def test_each_class_takes_its_own_deltas() -> None:
    own = [0.0] * 4 + [1.0, 0, 0, 0] + [0.0] * 4
    found = Scripted([([3, 3, 0, 0], own)]).run(AUTHORS).detections
    lefts = dict(zip(found.class_ids.tolist(), found.boxes[:, 0].tolist(), strict=True))
    assert lefts[0] == 0
    assert lefts[1] == pytest.approx(0.1 * 64 * 2)


@pytest.mark.parametrize("rules", [AUTHORS, MMDET], ids=["authors", "mmdet"])
def test_each_stage_of_a_cascade_starts_from_the_boxes_of_the_one_before(rules: Rules) -> None:
    deltas = [1.0, 0.5, -0.2, 0.3]
    found = Scripted([([0, 3, 0, 0], deltas)] * 3).run(rules).detections.boxes
    expected = REGION
    for weights in rules.stage_weights:
        moved = boxes.decode(expected, torch.tensor([[deltas]]), weights, clamp_shrinking=True)[:, 0]
        expected = boxes.clip(moved, *GEOMETRY.size)
    assert torch.allclose(found, 2 * expected, atol=1e-4)


LOGITS = ([0.0, 4, 0, 0], [0.0, 0, 0, 0], [0.0, 1, 0, 2])


def test_the_authors_average_the_probabilities_of_the_stages() -> None:
    found = Scripted([(each, [0.0] * 4) for each in LOGITS]).run(AUTHORS).detections
    probabilities = torch.stack([torch.tensor(each).softmax(0) for each in LOGITS]).mean(0)
    assert found.scores[0] == pytest.approx(float(probabilities[1]))


def test_openmmlab_averages_their_logits() -> None:
    found = Scripted([(each, [0.0] * 4) for each in LOGITS]).run(MMDET).detections
    assert found.scores[0] == pytest.approx(float(torch.tensor(LOGITS).mean(0).softmax(0)[1]))


def test_a_mask_is_that_of_the_detected_class_averaged_over_the_mask_heads() -> None:
    masks = [torch.zeros(1, CLASSES, 28, 28), torch.zeros(1, CLASSES, 28, 28)]
    masks[0][:, 1], masks[1][:, 1] = 2.0, -1.0
    found = Scripted([([0, 6, 0, 0], [0.0] * 4)] * 3, masks).run(MMDET).masks
    assert found is not None
    expected = torch.tensor([2.0, -1.0]).sigmoid().mean()
    assert torch.allclose(found, expected.expand(1, 28, 28))


def test_a_value_that_is_no_number_is_no_detection() -> None:
    assert len(Scripted([([float("nan")] * 4, [0.0] * 12)]).run(AUTHORS).detections.scores) == 0


def test_an_image_with_nothing_to_propose_has_no_detection() -> None:
    nothing = Scripted([([0, 3, 0, 0], [0.0] * 12)])
    trunk = nothing.networks.trunk

    def empty(image: Tensor) -> TrunkOutput:
        return trunk(image)._replace(objectness=torch.full_like(trunk(image).objectness, float("nan")))

    found = detect(nothing.networks._replace(trunk=empty), AUTHORS, torch.zeros(1, 3, *SIZE), GEOMETRY)
    assert len(found.detections.scores) == 0


def test_the_stride_may_be_in_the_first_convolution() -> None:
    blocks = Detector(DETECTORS["faster_rcnn_resnet50"], CLASSES).trunk.backbone.layer2
    assert blocks[0].conv1.stride == (2, 2)
    assert blocks[0].conv2.stride == (1, 1)
