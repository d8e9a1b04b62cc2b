import warnings

import pytest
import torch
from torch import nn

from service.networks.inference_form.atrous import CroppedTaps, fits
from tests.networks.inference_form.comparison import assert_equal, random_map

SIDES = [(1, 1), (1, 70), (5, 9), (12, 12), (13, 12), (24, 37), (36, 36), (37, 80)]


def atrous(rate: int, *, bias: bool = False) -> nn.Conv2d:
    torch.manual_seed(rate)
    return nn.Conv2d(6, 5, 3, padding=rate, dilation=rate, bias=bias)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rate", [12, 24, 36])
@pytest.mark.parametrize("sides", SIDES, ids=str)
@torch.inference_mode()
def test_the_taps_add_up_to_the_convolution_on_maps_of_any_size(
    rate: int, sides: tuple[int, int], *, bias: bool
) -> None:
    conv = atrous(rate, bias=bias)
    x = random_map(2, 6, *sides)
    assert_equal(CroppedTaps(conv)(x), conv(x))


@pytest.mark.parametrize("sides", SIDES, ids=str)
@torch.inference_mode()
def test_a_trace_at_one_size_is_right_at_any_other(sides: tuple[int, int]) -> None:
    conv = atrous(24)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(CroppedTaps(conv), torch.zeros(1, 6, 8, 8), check_trace=False)
    x = random_map(2, 6, *sides)
    assert_equal(traced(x), conv(x))


@pytest.mark.parametrize(
    ("conv", "expected"),
    [
        (atrous(12), True),
        (atrous(4), False),
        (nn.Conv2d(6, 6, 3, padding=12, dilation=12, groups=6), False),
        (nn.Conv2d(6, 5, 3, padding=11, dilation=12), False),
        (nn.Conv2d(6, 5, 3, stride=2, padding=12, dilation=12), False),
        (nn.Conv2d(6, 5, 1), False),
    ],
)
def test_only_dense_3x3_convolutions_of_a_large_rate_have_the_form(conv: nn.Conv2d, *, expected: bool) -> None:
    assert fits(conv) is expected
