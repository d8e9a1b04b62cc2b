"""MMSegmentation's DeepLabV3 and DeepLabV3+ heads against the reference implementation."""

import pytest
import torch

from service.networks.mmseg.deeplab import MmsegDeepLabV3Head, MmsegDeepLabV3PlusHead
from tests.networks import heads
from tests.networks.sharing import FINE_TOLERANCE, distance, give, random_state

SIDES = [(1, 1), (5, 9), (75, 80)]  # the last is wider than two steps of rate 36


@pytest.mark.parametrize("inner", [None, 12])
@pytest.mark.parametrize("sides", SIDES)
def test_the_deeplab_head_equals_the_reference(sides: tuple[int, int], inner: int | None) -> None:
    head, x = MmsegDeepLabV3Head(32, 5, inner), heads.features(32, *sides)
    give(random_state(head, dtype=torch.float64), head)

    with torch.inference_mode():
        assert distance(head(x), heads.mmseg_deeplab(head.state_dict(), x)) < FINE_TOLERANCE


@pytest.mark.parametrize("inner", [None, 12])
@pytest.mark.parametrize("sides", SIDES)
def test_the_deeplab_plus_head_equals_the_reference_at_the_resolution_of_stage_1(
    sides: tuple[int, int], inner: int | None
) -> None:
    head, x = MmsegDeepLabV3PlusHead(32, 5, inner), heads.features(32, *sides)
    detail = heads.features(256, 2 * sides[0] - 1, 2 * sides[1])
    give(random_state(head, dtype=torch.float64), head)

    with torch.inference_mode():
        answer = head(x, detail)

    assert answer.shape[2:] == detail.shape[2:]
    assert distance(answer, heads.mmseg_deeplabplus(head.state_dict(), x, detail)) < FINE_TOLERANCE


def test_the_published_heads_are_512_channels_wide_inside() -> None:
    with torch.device("meta"):
        widths = [kind(2048, 19).bottleneck.conv.out_channels for kind in (MmsegDeepLabV3Head, MmsegDeepLabV3PlusHead)]

    assert widths == [512, 512]
