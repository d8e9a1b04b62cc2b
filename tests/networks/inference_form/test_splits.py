import pytest
import torch

from service.networks.inference_form.splits import SplitAttentionForm, split_groups, split_outputs
from service.networks.split_attention import SplitAttentionConv2d
from tests.networks.inference_form.comparison import assert_equal, random_map, randomised


@pytest.mark.parametrize("radix", [1, 2, 4])
@pytest.mark.parametrize("cardinality", [1, 2, 4])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (1, 4), (2, 3)])
@pytest.mark.parametrize("sides", [(1, 1), (5, 8), (14, 9)])
@torch.inference_mode()
def test_it_computes_what_the_reference_does(
    radix: int, cardinality: int, stride: int, dilation: int, sides: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    source = SplitAttentionConv2d(32, radix=radix, cardinality=cardinality, stride=stride, dilation=dilation)
    randomised(source)
    x = random_map(3, 32, *sides)
    expected = source(x)
    assert_equal(SplitAttentionForm(source)(list(x.chunk(radix, dim=1))), expected)


@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_the_groups_of_a_convolution_are_computed_apart(*, bias: bool) -> None:
    conv = torch.nn.Conv2d(8, 16, 3, stride=2, padding=2, dilation=2, groups=4, bias=bias)
    x = random_map(2, 8, 9, 7)
    parts = [part(given) for part, given in zip(split_groups(conv, 2), x.chunk(2, dim=1), strict=True)]
    assert_equal(torch.cat(parts, dim=1), conv(x))


@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_the_outputs_of_a_convolution_are_computed_apart(*, bias: bool) -> None:
    conv = torch.nn.Conv2d(8, 12, 1, bias=bias)
    x = random_map(2, 8, 5, 7)
    assert_equal(torch.cat([part(x) for part in split_outputs(conv, 4)], dim=1), conv(x))
