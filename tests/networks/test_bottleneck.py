"""The bottleneck block against the official package, also in combinations that were never released."""

import pytest
import torch
from resnest.torch.resnet import Bottleneck as OfficialBottleneck
from torch import nn

from service.networks.bottleneck import BlockStyle, Bottleneck
from tests.networks.sharing import FINE_TOLERANCE, distance, give, random_state

CHANNELS, PLANES = 64, 32
# Radix, cardinality, width. With a width of 24 the group widths are not powers of two.
COMBINATIONS = [(r, k, w) for r in (0, 1, 2, 4) for k, w in ((1, 64), (2, 40), (4, 24), (1, 24))]
# Stride, dilation, first block of the stage: as in stages 1 and 2, and in the first and last block of a dilated stage.
PLACES = [(1, 1, False), (2, 1, True), (1, 2, True), (1, 4, False)]


def shortcut(stride: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(CHANNELS, 4 * PLANES, 1, stride, bias=False), nn.BatchNorm2d(4 * PLANES))


@pytest.mark.parametrize("before", [False, True], ids=["pool-after", "pool-before"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("radix", "cardinality", "width"), COMBINATIONS)
def test_any_radix_cardinality_and_width_equal_the_official_block(
    radix: int, cardinality: int, width: int, place: tuple[int, int, bool], *, before: bool
) -> None:
    stride, dilation, first = place
    style = BlockStyle(radix, cardinality, width, average_downsampling=True, average_first=before)
    with torch.device("meta"):
        block = Bottleneck(
            CHANNELS, PLANES, style, stride=stride, dilation=dilation, first=first, downsample=shortcut(stride)
        )
        official = OfficialBottleneck(
            CHANNELS, PLANES, stride, shortcut(stride), radix, cardinality, width, avd=True, avd_first=before,
            dilation=dilation, is_first=first, norm_layer=nn.BatchNorm2d,
        )  # fmt: skip
    give(random_state(block, dtype=torch.float64), block, official)
    x = torch.randn(2, CHANNELS, 7, 10, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    with torch.inference_mode():
        assert distance(block(x), official(x)) < FINE_TOLERANCE


def test_the_width_of_a_group_is_rounded_down_before_it_is_multiplied() -> None:
    assert BlockStyle(cardinality=32, width=4).group_width(64) == 128
    assert BlockStyle(cardinality=2, width=40).group_width(512) == 640
    assert BlockStyle(cardinality=3, width=25).group_width(96) == 37 * 3
