"""The outputs of one image from the class and the probability of each pixel."""

import pytest
import torch

from service.tasks.segmentation.masks_head import class_scores, confident

MASK = torch.tensor([[0, 0, 2], [2, 2, 0]])
LIKELY = torch.tensor([[0.5, 0.7, 1.0], [0.4, 0.4, 0.6]])


def test_a_class_scores_the_mean_of_its_pixels_and_0_without_any() -> None:
    found = class_scores(MASK, LIKELY, 4)

    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([0.6, 0, 0.6, 0])


def test_a_confidence_is_the_probability_in_255_steps() -> None:
    found = confident(MASK, LIKELY, 3)

    assert found["mask"].tolist() == MASK.tolist()
    assert found["confidence"].tolist() == [[128, 178, 255], [102, 102, 153]]
    assert found["mask"].dtype == found["confidence"].dtype == torch.uint8
    assert torch.equal(found["class_scores"], class_scores(MASK, LIKELY, 3))


def test_a_million_pixels_are_summed_without_loss() -> None:
    likely = torch.full((1000, 1000), 0.1)

    assert class_scores(torch.zeros(1000, 1000, dtype=torch.long), likely, 1).item() == pytest.approx(0.1, abs=1e-8)
