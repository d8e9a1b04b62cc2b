"""The DeepLabV3 head against the reference implementation."""

import pytest
import torch

from service.networks.deeplab import DeepLabV3Head
from tests.networks import heads
from tests.networks.sharing import FINE_TOLERANCE, distance, give, random_state


@pytest.mark.parametrize("inner", [None, 12])
@pytest.mark.parametrize("sides", [(1, 1), (5, 9), (75, 80)])  # the last is wider than two steps of rate 36
def test_the_deeplab_head_equals_the_reference(sides: tuple[int, int], inner: int | None) -> None:
    head, x = DeepLabV3Head(64, 5, inner), heads.features(64, *sides)
    give(random_state(head, dtype=torch.float64), head)

    with torch.inference_mode():
        assert distance(head(x), heads.deeplab(head.state_dict(), x)) < FINE_TOLERANCE


def test_the_deeplab_head_is_as_wide_inside_as_the_published_one_unless_told() -> None:
    with torch.device("meta"):
        published, narrow = DeepLabV3Head(2048, 150), DeepLabV3Head(2048, 150, 128)

    assert [module.aspp.b0[0].out_channels for module in (published, narrow)] == [256, 128]
