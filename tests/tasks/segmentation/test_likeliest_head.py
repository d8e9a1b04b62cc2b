"""The class of each pixel, compared with the argmax of all upsampled logits."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from service.tasks.segmentation import likeliest_head
from service.tasks.segmentation.likeliest_head import ROUNDING, Upsample, axis, likeliest, taps

CONVENTIONS = [partial(functional.interpolate, mode="bilinear", align_corners=each) for each in (False, True)]
both_conventions = pytest.mark.parametrize("upsample", CONVENTIONS, ids=["half pixels", "aligned corners"])
SIZES = [(72, 56), (71, 50), (90, 70)]  # of a map of 9 by 7 positions: its stride is 8, or no whole number


def reference(upsample: Upsample, logits: Tensor, size: tuple[int, int]) -> Tensor:
    return upsample(logits[None], size)[0].argmax(dim=0).to(torch.uint8)


def rough(classes: int, seed: int = 0) -> Tensor:
    return 4 * torch.randn(classes, 9, 7, generator=torch.Generator().manual_seed(seed))


def smooth(classes: int) -> Tensor:
    return functional.interpolate(rough(classes)[None, :, :4, :3], (9, 7), mode="bicubic")[0]


@both_conventions
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("classes", [1, 2, 21, 150, 255])
def test_a_pixel_gets_the_class_with_the_highest_upsampled_logit(
    upsample: Upsample, size: tuple[int, int], classes: int
) -> None:
    for logits in (rough(classes), smooth(classes)):
        assert torch.equal(likeliest(upsample, logits, size), reference(upsample, logits, size))


@both_conventions
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("steps", [1, 4])
def test_of_equal_logits_the_lowest_class_wins(upsample: Upsample, size: tuple[int, int], steps: int) -> None:
    logits = (rough(40) * steps / 4).round() / steps  # few values, so that most cells have equal corners
    assert torch.equal(likeliest(upsample, logits, size), reference(upsample, logits, size))
    assert not likeliest(upsample, torch.full((150, 9, 7), -3.0), size).any()


@both_conventions
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("gap", [2.0**-24, 2.0**-23, 2.0**-22, 2.0**-20, 2.0**-18])
def test_of_nearly_equal_logits_one_of_the_highest_wins(
    upsample: Upsample, size: tuple[int, int], scale: float, gap: float
) -> None:
    generator = torch.Generator().manual_seed(1)
    same = torch.randn(9, 7, generator=generator)
    logits = scale * same * (1 + gap * torch.randint(-2, 3, (30, 9, 7), generator=generator))
    upsampled = upsample(logits.double()[None], size)[0]
    chosen = upsampled.gather(0, likeliest(upsample, logits, size)[None].long())[0]
    # The weights in single precision are off by up to 2**-21 of a position, which moves all of these logits alike.
    assert float((upsampled.amax(dim=0) - chosen).max()) <= ROUNDING * float(logits.abs().max())


@given(data=st.data(), upsample=st.sampled_from(CONVENTIONS))
@settings(max_examples=60, deadline=None)
def test_any_map_and_image_size_agree_with_the_upsampled_logits(data: st.DataObject, upsample: Upsample) -> None:
    height, width = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 6)), "map")
    size = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)), "image")
    classes = data.draw(st.integers(1, 5), "classes")
    values = st.lists(st.integers(-3, 3), min_size=classes * height * width, max_size=classes * height * width)
    logits = torch.tensor(data.draw(values, "logits"), dtype=torch.float32).view(classes, height, width)
    upsampled = upsample(logits[None], size)[0]
    chosen = upsampled.gather(0, likeliest(upsample, logits, size)[None].long())[0]
    assert float((upsampled.amax(dim=0) - chosen).max()) <= 3 * ROUNDING


@both_conventions
def test_a_class_can_win_between_positions_where_others_win(upsample: Upsample) -> None:
    logits = torch.stack([torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 9.0]]), torch.tensor([[6.0, 6.0]])])
    found = likeliest(upsample, logits, (1, 16))
    assert found.unique().tolist() == [0, 1, 2]
    assert torch.equal(found, reference(upsample, logits, (1, 16)))


@both_conventions
@pytest.mark.parametrize("band", [1, 40 * 9 * 3])
def test_the_bands_of_a_large_map_meet_without_a_seam(
    upsample: Upsample, band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likeliest_head, "BAND", band)
    assert torch.equal(likeliest(upsample, rough(40), SIZES[0]), reference(upsample, rough(40), SIZES[0]))


@both_conventions
def test_no_class_is_upsampled_to_the_image(upsample: Upsample) -> None:
    values: list[int] = []

    def measured(part: Tensor, size: tuple[int, int]) -> Tensor:
        values.append(part.shape[1] * size[0] * size[1])
        return upsample(part, size)

    likeliest(measured, rough(150), (720, 560))
    assert max(values) <= 9 * 720


@both_conventions
@pytest.mark.parametrize(("length", "target"), [(9, 72), (9, 71), (9, 9), (9, 4), (1, 5), (2, 1)])
def test_taps_are_the_positions_and_weights_of_the_upsampling(upsample: Upsample, length: int, target: int) -> None:
    first, weights = taps(upsample, length, target)
    line = torch.randn(length, generator=torch.Generator().manual_seed(0))
    found = line[first] * weights[0] + line[(first + 1).clamp(max=length - 1)] * weights[1]
    torch.testing.assert_close(found, upsample(line[None, None, :, None], (target, 1))[0, 0, :, 0])
    assert bool((weights >= 0).all())


@both_conventions
@pytest.mark.parametrize(("length", "target"), [(9, 72), (9, 71), (9, 9), (1, 5)])
def test_each_pixel_has_a_place_of_its_own_in_a_cell(upsample: Upsample, length: int, target: int) -> None:
    found = axis(upsample, length, target)
    assert found.weights.shape[2] == length + 1
    assert np.unique(found.places).size == target
    torch.testing.assert_close(found.weights.sum(dim=0), torch.ones(found.weights.shape[1:]))
