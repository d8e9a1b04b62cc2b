from dataclasses import replace

import pytest
import torch
from torch import nn

from service.networks.bottleneck import BlockStyle, Bottleneck
from service.networks.inference_form.blocks import SplitBottleneckForm, fold_plain
from tests.networks.inference_form.comparison import assert_equal, random_map, randomised

SPLIT = BlockStyle(radix=2, average_down=True, average_downsampling=True)
STYLES = {
    "radix 1": replace(SPLIT, radix=1),
    "radix 2": SPLIT,
    "radix 4, 2 groups": replace(SPLIT, radix=4, cardinality=2, width=32),
    "pool first": replace(SPLIT, average_first=True),
}


def block(style: BlockStyle, *, stride: int = 1, dilation: int = 1) -> Bottleneck:
    torch.manual_seed(0)
    shortcut = nn.Sequential(nn.AvgPool2d(stride, stride, ceil_mode=True), nn.Conv2d(24, 64, 1), nn.BatchNorm2d(64))
    made = Bottleneck(24, 16, style, stride=stride, dilation=dilation, first=True, downsample=shortcut)
    randomised(made)
    return made


@pytest.mark.parametrize("split_first", [True, False])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (1, 4)])
@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES.keys())
@torch.inference_mode()
def test_a_block_with_split_attention_computes_what_the_reference_does(
    style: BlockStyle, stride: int, dilation: int, *, split_first: bool
) -> None:
    source = block(style, stride=stride, dilation=dilation)
    x = random_map(2, 24, 15, 10)
    expected = source(x)
    assert_equal(SplitBottleneckForm(source, split_first=split_first)(x), expected)


@pytest.mark.parametrize("style", [BlockStyle(), BlockStyle(cardinality=8, width=4)], ids=["ResNet", "ResNeXt"])
@torch.inference_mode()
def test_a_plain_block_keeps_its_convolutions_only(style: BlockStyle) -> None:
    source = block(style, stride=2)
    x = random_map(2, 24, 15, 10)
    expected = source(x)
    fold_plain(source)
    assert_equal(source(x), expected)
    assert [type(source.get_submodule(f"bn{number}")) for number in (1, 2, 3)] == [nn.Identity] * 3


def test_a_block_without_split_attention_has_no_such_form() -> None:
    with pytest.raises(TypeError, match="no Split-Attention"):
        SplitBottleneckForm(block(BlockStyle()), split_first=True)
