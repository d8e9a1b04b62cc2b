import pytest
import torch

from service.networks.detection.layers import ConvNorm


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("norm", [True, False])
def test_the_map_keeps_its_size(kernel: int, *, norm: bool) -> None:
    assert ConvNorm(2, 5, kernel, norm=norm, relu=True)(torch.zeros(1, 2, 6, 7)).shape == (1, 5, 6, 7)


def test_a_norm_replaces_the_bias() -> None:
    assert ConvNorm(2, 5, 1, norm=True, relu=False).conv.bias is None
    assert ConvNorm(2, 5, 1, norm=False, relu=False).conv.bias is not None


def test_only_with_relu_there_are_no_negative_values() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 6, 7)
    assert ConvNorm(2, 5, 1, norm=False, relu=True)(x).min() == 0
    assert ConvNorm(2, 5, 1, norm=False, relu=False)(x).min() < 0
