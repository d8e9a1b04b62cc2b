import numpy as np
import torch

from service.networks.detection import anchors, boxes
from service.networks.detection.proposals import propose
from service.networks.detection.spec import AUTHORS
from service.networks.detection.trunk import TrunkOutput
from tests.networks.detection import references

LEVELS = [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
SIZE = (60, 90)  # of the image; the network's input is padded to 64 x 96


def trunk_output() -> TrunkOutput:
    random = torch.Generator().manual_seed(3)
    p2, p3, p4, p5 = (torch.zeros(1, 1, *each) for each in LEVELS[:4])
    count = sum(3 * rows * columns for rows, columns in LEVELS)
    return TrunkOutput(
        p2, p3, p4, p5, torch.randn(count, generator=random), 0.3 * torch.randn(count, 4, generator=random)
    )


def by_the_paper(found: TrunkOutput, most: int) -> list[list[float]]:
    """Return the proposals, one level and one box at a time."""
    kept: list[tuple[float, list[float]]] = []
    start = 0
    for (rows, columns), stride in zip(LEVELS, anchors.STRIDES, strict=True):
        cells = anchors.level_anchors(rows, columns, stride, torch.device("cpu"))
        end = start + len(cells)
        moved = boxes.decode(cells, found.deltas[start:end, None], (1, 1, 1, 1), clamp_shrinking=False)[:, 0].numpy()
        limits = np.array([SIZE[1], SIZE[0]] * 2, dtype=np.float32)
        inside = np.clip(moved, 0, limits)
        scores = found.objectness[start:end].numpy()
        order = list(np.argsort(-scores, kind="stable")[:1000])
        valid = [each for each in order if (inside[each, 2:] > inside[each, :2]).all()]
        best = references.nms(inside[valid], scores[valid], 0.7)
        kept += [(float(scores[valid][index]), inside[valid][index].tolist()) for index in best]
        start = end
    return [box for _, box in sorted(kept, key=lambda each: -each[0])[:most]]


def test_proposals_are_those_of_the_plain_algorithm() -> None:
    found = trunk_output()
    expected = torch.tensor(by_the_paper(found, 200))
    assert torch.allclose(propose(found, SIZE, AUTHORS, 200), expected, atol=1e-4)
    assert len(expected) == 200


def test_regions_end_at_the_image_not_at_its_padding() -> None:
    regions = propose(trunk_output(), SIZE, AUTHORS)
    assert regions[:, 2].max() == SIZE[1]
    assert regions[:, 3].max() == SIZE[0]
