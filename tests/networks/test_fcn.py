"""The FCN head against the reference implementation."""

import pytest
import torch

from service.networks.fcn import FCNHead
from tests.networks import heads
from tests.networks.sharing import FINE_TOLERANCE, distance, give, random_state


@pytest.mark.parametrize("inner", [None, 12])
@pytest.mark.parametrize("sides", [(1, 1), (5, 9)])
def test_the_fcn_head_equals_the_reference(sides: tuple[int, int], inner: int | None) -> None:
    head, x = FCNHead(64, 5, inner), heads.features(64, *sides)
    give(random_state(head, dtype=torch.float64), head)

    with torch.inference_mode():
        assert distance(head(x), heads.fcn(head.state_dict(), x)) < FINE_TOLERANCE


def test_the_fcn_head_is_as_wide_inside_as_the_published_one_unless_told() -> None:
    with torch.device("meta"):
        published, narrow = FCNHead(2048, 150), FCNHead(2048, 150, 128)

    assert [module.conv5[0].out_channels for module in (published, narrow)] == [512, 128]
