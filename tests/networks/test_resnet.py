"""The families of the backbone against timm, whose ResNet and ResNeXt have torchvision's keys."""

from typing import Any

import pytest
import torch
from torch import nn

from service.networks import ARCHITECTURES, build
from service.networks.resnet import ResNet
from tests.networks.sharing import TOLERANCE, distance, give, random_images, random_state

# Our name, timm's name, tensors, parameters. torchvision publishes the same counts; it has no resnext101_32x4d.
PEERS = [
    ("resnet50", "resnet50", 320, 25_557_032),
    ("resnet101", "resnet101", 626, 44_549_160),
    ("resnext50_32x4d", "resnext50_32x4d", 320, 25_028_904),
    ("resnext101_32x4d", "resnext101_32x4d", 626, 44_177_704),
    ("resnext101_32x8d", "resnext101_32x8d", 626, 88_791_336),
    ("resnet50d", "resnet50d", 332, 25_576_264),
    ("resnet101d", "resnet101d", 638, 44_568_392),
    ("resnest14", "resnest14d", 152, 10_611_688),
    ("resnest26", "resnest26d", 260, 17_069_448),
    ("resnest50_fast_4s2x40d", "resnest50d_4s2x40d", 476, 30_417_592),
]
# One key of each kind in torchvision's state dict of ResNet-50.
TORCHVISION_KEYS = [
    ("conv1.weight", (64, 3, 7, 7)),
    ("bn1.running_var", (64,)),
    ("layer1.0.conv1.weight", (64, 64, 1, 1)),
    ("layer1.0.downsample.0.weight", (256, 64, 1, 1)),
    ("layer1.0.downsample.1.weight", (256,)),
    ("layer2.0.conv2.weight", (128, 128, 3, 3)),
    ("layer4.2.bn3.num_batches_tracked", ()),
    ("fc.weight", (1000, 2048)),
]


def pair(timm: Any, name: str, peer: str) -> tuple[nn.Module, nn.Module]:
    with torch.device("meta"):
        network, reference = build(name, 1000), timm.create_model(peer, pretrained=False)
    give(random_state(network), network, reference)
    return network, reference


@pytest.mark.parametrize(("name", "peer", "tensors", "parameters"), PEERS, ids=[row[0] for row in PEERS])
def test_a_network_equals_timms_and_has_its_keys_in_order(
    timm: Any, name: str, peer: str, tensors: int, parameters: int
) -> None:
    network, reference = pair(timm, name, peer)
    x = random_images(65, 97)

    with torch.inference_mode():
        assert distance(network(x), reference(x)) < TOLERANCE

    assert list(network.state_dict()) == list(reference.state_dict())
    assert len(network.state_dict()) == tensors
    assert sum(each.numel() for each in network.parameters()) == parameters


def test_resnet_14_d_equals_timms_with_one_block_a_stage(timm: Any) -> None:
    home = timm.models.resnet
    with torch.device("meta"):
        network = build("resnet14d", 10)
        reference = home.ResNet(home.Bottleneck, (1, 1, 1, 1), 10, stem_width=32, stem_type="deep", avg_down=True)
    give(random_state(network), network, reference)

    with torch.inference_mode():
        assert distance(network(random_images(65, 97)), reference(random_images(65, 97))) < TOLERANCE


# ResNet-C, compared with MMSegmentation's by the keys in tests/networks/mmseg.
OF_MMSEG = ("resnet50c", "resnet101c")


def test_every_plain_architecture_has_a_peer() -> None:
    plain = {name for name in ARCHITECTURES if not name.startswith("resnest")}

    assert plain == {name for name, *_ in PEERS if not name.startswith("resnest")} | {"resnet14d", *OF_MMSEG}


def test_resnet_50_has_torchvisions_keys() -> None:
    with torch.device("meta"):
        state = build("resnet50", 1000).state_dict()

    assert {key: tuple(state[key].shape) for key, _ in TORCHVISION_KEYS} == dict(TORCHVISION_KEYS)


def test_a_plain_dilated_network_keeps_its_keys_and_its_resolution() -> None:
    with torch.device("meta"):
        dilated, plain = build("resnet50", 10, 8), build("resnet50", 10)
    assert isinstance(dilated, ResNet)

    assert list(dilated.state_dict()) == list(plain.state_dict())
    assert dilated.eval().stages(torch.empty(1, 3, 65, 97, device="meta"))[-1].shape == (1, 2048, 9, 13)
