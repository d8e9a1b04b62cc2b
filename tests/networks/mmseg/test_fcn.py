"""MMSegmentation's fully convolutional heads against the reference implementation."""

import pytest
import torch

from service.networks.mmseg.fcn import MmsegAuxiliaryHead, MmsegFCNHead
from tests.networks import heads
from tests.networks.sharing import FINE_TOLERANCE, distance, give, random_state


@pytest.mark.parametrize("inner", [None, 12])
@pytest.mark.parametrize("sides", [(1, 1), (5, 9)])
def test_the_fcn_head_equals_the_reference(sides: tuple[int, int], inner: int | None) -> None:
    head, x = MmsegFCNHead(32, 5, inner), heads.features(32, *sides)
    give(random_state(head, dtype=torch.float64), head)

    with torch.inference_mode():
        assert distance(head(x), heads.mmseg_fcn(head.state_dict(), x)) < FINE_TOLERANCE


def test_the_auxiliary_head_equals_the_reference_and_is_a_quarter_as_wide_as_its_map() -> None:
    head, x = MmsegAuxiliaryHead(64, 5), heads.features(64, 5, 9)
    give(random_state(head, dtype=torch.float64), head)

    with torch.inference_mode():
        assert distance(head(x), heads.mmseg_auxiliary(head.state_dict(), x)) < FINE_TOLERANCE
    assert head.conv_seg.in_channels == 16
