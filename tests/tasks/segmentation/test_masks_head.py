"""The outputs of one image from the class and the probability of each pixel."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from service.tasks.segmentation import masks_head
from service.tasks.segmentation.masks_head import class_scores, confident, sampled_scores

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


def upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(logits, size, mode="bilinear", align_corners=True)


def smooth(classes: int) -> Tensor:
    noise = 4 * torch.randn(1, classes, 5, 5, generator=torch.Generator().manual_seed(classes))
    return functional.interpolate(noise, (33, 25), mode="bicubic")[0]


def probabilities(logits: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the mask and the probability of its class at each pixel."""
    upsampled = upsample(logits[None], size)[0]
    return upsampled.argmax(dim=0), upsampled.softmax(dim=0).amax(dim=0)


def test_few_classes_score_the_mean_of_all_their_pixels() -> None:
    mask, likely = probabilities(smooth(3), (264, 200))

    found = sampled_scores(upsample, smooth(3), mask.to(torch.uint8))

    torch.testing.assert_close(found, class_scores(mask, likely, 3))


def test_many_classes_score_the_mean_of_every_nth_pixel_of_every_nth_row() -> None:
    mask, likely = probabilities(smooth(150), (264, 200))
    step = 3  # 150 * 264 * 200 / 3 ** 2 is below `SAMPLED`
    grid = (slice(1, None, step), slice(1, None, step))

    found = sampled_scores(upsample, smooth(150), mask.to(torch.uint8))

    has_points = torch.bincount(mask[grid].flatten(), minlength=150) > 0
    expected = class_scores(mask[grid], likely[grid], 150)
    assert has_points.sum() > 20
    torch.testing.assert_close(found[has_points], expected[has_points])


def test_a_sampled_score_is_near_the_mean_of_all_pixels() -> None:
    mask, likely = probabilities(smooth(150), (264, 200))

    found = sampled_scores(upsample, smooth(150), mask.to(torch.uint8))

    large = torch.bincount(mask.flatten(), minlength=150) > 400
    assert large.sum() > 20
    assert (found - class_scores(mask, likely, 150))[large].abs().max() < 0.03


@pytest.mark.parametrize("sampled", [masks_head.SAMPLED, 3000])
def test_a_class_that_the_sample_misses_scores_the_mean_of_all_its_pixels(
    sampled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masks_head, "SAMPLED", sampled)
    logits = smooth(150)
    pixels = ([11, 11, 21], [11, 12, 30])  # the sample has the rows 1, 4, 7 ..., or 26, 78 ...
    mask = torch.zeros(264, 200, dtype=torch.uint8)
    mask[pixels] = 7

    found = sampled_scores(upsample, logits, mask)

    expected = upsample(logits[None], (264, 200))[0].softmax(dim=0)[7][pixels].mean()
    torch.testing.assert_close(found[7], expected)
    assert found.count_nonzero() == 2
