import pytest
import torch
from torch import nn

from service.networks.inference_form.batch_norm import fold_sequence, fold_stem, folded
from service.networks.resnest import ARCHITECTURES as RESNEST
from service.networks.resnet import ARCHITECTURES as RESNET
from service.networks.resnet import ResNet
from tests.networks.inference_form.comparison import assert_equal, random_map, randomised


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("groups", "stride", "dilation"), [(1, 1, 1), (4, 2, 1), (2, 1, 3), (8, 2, 2)])
@torch.inference_mode()
def test_a_folded_convolution_computes_what_both_did(groups: int, stride: int, dilation: int, *, bias: bool) -> None:
    conv = nn.Conv2d(8, 16, 3, stride, dilation, dilation, groups, bias=bias)
    norm = nn.BatchNorm2d(16)
    both = randomised(nn.Sequential(conv, norm))
    x = random_map(2, 8, 9, 11)
    assert_equal(folded(conv, norm)(x), both(x))


def test_a_convolution_without_a_norm_stays() -> None:
    conv = nn.Conv2d(2, 2, 1)
    assert folded(conv, nn.Identity()) is conv


class NormAndActivation(nn.BatchNorm2d):
    pass


def test_what_may_do_more_than_normalise_is_refused() -> None:
    with pytest.raises(TypeError, match="NormAndActivation"):
        folded(nn.Conv2d(2, 2, 1), NormAndActivation(2).eval())


@torch.inference_mode()
def test_a_sequence_keeps_its_places() -> None:
    def sequence() -> nn.Sequential:
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)]
        made = nn.Sequential(*layers)
        randomised(made)
        return made

    found = sequence()
    fold_sequence(found)
    assert [type(layer) for layer in found] == [nn.Conv2d, nn.Identity, nn.ReLU, nn.Conv2d, nn.ReLU, nn.BatchNorm2d]
    x = random_map(2, 3, 7, 8)
    assert_equal(found(x), sequence()(x))


@pytest.mark.parametrize("architecture", [RESNET["resnet50"], RESNEST["resnest14"]], ids=["7x7", "deep"])
@torch.inference_mode()
def test_the_norm_behind_either_stem_is_folded(architecture: object) -> None:
    network = ResNet(architecture, 0)  # type: ignore[arg-type]
    randomised(network)
    x = random_map(1, 3, 33, 47)
    expected = network.bn1(network.conv1(x))
    fold_stem(network)
    assert isinstance(network.bn1, nn.Identity)
    assert_equal(network.conv1(x), expected)
