import numpy as np
import pytest
import torch

from service.networks.detection.nms import nms
from tests.networks.detection import references


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_it_keeps_what_the_greedy_loop_keeps(seed: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 30, (80, 2))
    boxes = np.concatenate([corners, corners + random.uniform(20, 40, (80, 2))], axis=1)
    scores = random.permutation(80) / 80
    found = nms(torch.tensor(boxes), torch.tensor(scores), threshold)
    assert found.tolist() == references.nms(boxes, scores, threshold)
    assert 0 < len(found) < 80


def test_a_box_that_a_dropped_box_overlaps_stays() -> None:
    chain = torch.tensor([[0.0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]])  # neighbours overlap by 0.43
    assert nms(chain, torch.tensor([0.9, 0.8, 0.7]), 0.4).tolist() == [0, 2]


def test_equal_boxes_with_equal_scores_leave_the_first() -> None:
    assert nms(torch.ones(3, 4) * torch.tensor([0, 0, 1, 1]), torch.ones(3), 0.5).tolist() == [0]


def test_no_box_is_no_result() -> None:
    assert nms(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []
