"""The Split-Attention convolution against a naive implementation, group by group, and the official package."""

import pytest
import torch
from resnest.torch.splat import SplAtConv2d, rSoftMax
from torch import Tensor, nn
from torch.nn import functional

from service.networks.split_attention import RadixSoftmax, SplitAttentionConv2d
from tests.networks.sharing import FINE_TOLERANCE, distance, give, random_state

CHANNELS = 48  # of the block's input; divisible by every cardinality below
COMBINATIONS = [(radix, cardinality) for radix in (1, 2, 3, 4) for cardinality in (1, 2, 4)]
GEOMETRIES = [(1, 1), (2, 1), (1, 2), (1, 4)]  # stride, dilation


def convolution(radix: int, cardinality: int, stride: int = 1, dilation: int = 1) -> SplitAttentionConv2d:
    module = SplitAttentionConv2d(CHANNELS, radix=radix, cardinality=cardinality, stride=stride, dilation=dilation)
    give(random_state(module, dtype=torch.float64), module)
    return module


def features(height: int = 7, width: int = 10) -> Tensor:
    return torch.randn(2, CHANNELS, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def group_by_group(module: SplitAttentionConv2d, x: Tensor, radix: int, cardinality: int) -> Tensor:
    """Compute figure 2 of the paper literally: every cardinal group has its own splits and two dense layers."""
    splits = module.relu(module.bn0(module.conv(x))).chunk(radix * cardinality, dim=1)  # radix-major
    inner = module.fc1.out_channels // cardinality
    answers = []
    for group in range(cardinality):
        own = [splits[r * cardinality + group] for r in range(radix)]  # each (n, c, h, w)
        gap = torch.stack(own).sum(0).mean((2, 3))  # (n, c)
        rows = slice(group * inner, (group + 1) * inner)
        hidden = dense(gap, module.fc1, rows)
        bn = module.bn1
        assert bn.running_mean is not None
        assert bn.running_var is not None
        hidden = (hidden - bn.running_mean[rows]) / (bn.running_var[rows] + bn.eps).sqrt() * bn.weight[rows]
        hidden = (hidden + bn.bias[rows]).clamp(min=0)
        c = own[0].shape[1]
        logits = [
            dense(hidden, module.fc2, slice((group * radix + r) * c, (group * radix + r + 1) * c)) for r in range(radix)
        ]
        exponentials = [logit.exp() for logit in logits]
        total = torch.stack(exponentials).sum(0)
        weights = [logits[0].sigmoid()] if radix == 1 else [each / total for each in exponentials]
        answers.append(torch.stack([w[:, :, None, None] * s for w, s in zip(weights, own, strict=True)]).sum(0))
    return torch.cat(answers, dim=1)


def dense(x: Tensor, layer: nn.Conv2d, rows: slice) -> Tensor:
    assert layer.bias is not None
    return functional.linear(x, layer.weight[rows, :, 0, 0], layer.bias[rows])


@pytest.mark.parametrize(("radix", "cardinality"), COMBINATIONS)
def test_it_equals_the_paper_group_by_group(radix: int, cardinality: int) -> None:
    module, x = convolution(radix, cardinality), features()

    with torch.inference_mode():
        assert distance(module(x), group_by_group(module, x, radix, cardinality)) < FINE_TOLERANCE


@pytest.mark.parametrize(("radix", "cardinality"), COMBINATIONS)
@pytest.mark.parametrize(("stride", "dilation"), GEOMETRIES)
def test_it_equals_the_official_convolution(radix: int, cardinality: int, stride: int, dilation: int) -> None:
    module, x = convolution(radix, cardinality, stride, dilation), features()
    official = SplAtConv2d(
        CHANNELS,
        CHANNELS,
        3,
        stride,
        dilation,
        dilation,
        cardinality,
        bias=False,
        radix=radix,
        norm_layer=nn.BatchNorm2d,
    )
    give(module.state_dict(), official)

    with torch.inference_mode():
        assert distance(module(x), official(x)) < FINE_TOLERANCE


@pytest.mark.parametrize(("radix", "cardinality"), COMBINATIONS)
def test_the_radix_softmax_equals_the_official_one(radix: int, cardinality: int) -> None:
    logits = torch.randn(3, radix * CHANNELS, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    assert distance(RadixSoftmax(radix, cardinality)(logits), rSoftMax(radix, cardinality)(logits)) < FINE_TOLERANCE


def test_the_radix_softmax_swaps_cardinality_major_logits_to_radix_major_weights() -> None:
    # Two groups, two splits, one channel: (group, split) = (0,0) (0,1) (1,0) (1,1)
    logits = torch.tensor([[0.0, 1.0, 10.0, 12.0]])
    low, lower = 1 / (1 + torch.tensor(1.0).exp()), 1 / (1 + torch.tensor(2.0).exp())

    weights = RadixSoftmax(radix=2, cardinality=2)(logits)

    assert distance(weights, torch.tensor([[low, lower, 1 - low, 1 - lower]])) < 1e-6


@pytest.mark.parametrize(("radix", "cardinality"), [each for each in COMBINATIONS if each[0] > 1])
def test_the_weights_of_a_channel_sum_to_one_over_the_splits(radix: int, cardinality: int) -> None:
    splits = torch.randn(2, radix, CHANNELS, 5, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    weights = convolution(radix, cardinality).attention(splits)

    assert weights.shape == (2, radix, CHANNELS, 1, 1)
    assert weights.std(dim=1).max() > 0.1  # the weights of the splits differ
    torch.testing.assert_close(weights.sum(dim=1), torch.ones_like(weights[:, 0]))


def test_with_one_split_the_weight_is_a_sigmoid() -> None:
    logits = torch.tensor([[-2.0, 0.0, 3.0]])

    torch.testing.assert_close(RadixSoftmax(radix=1, cardinality=3)(logits), logits.sigmoid())


def test_a_narrow_convolution_keeps_32_inner_channels() -> None:
    assert SplitAttentionConv2d(16, radix=2, cardinality=1).fc1.out_channels == 32
    assert SplitAttentionConv2d(256, radix=2, cardinality=1).fc1.out_channels == 128
