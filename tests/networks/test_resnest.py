"""Every ResNeSt variant against the official package, with and without dilation."""

from functools import lru_cache
from typing import Any

import pytest
import resnest.torch.ablation
import resnest.torch.resnest
import torch
from resnest.torch.resnet import Bottleneck as OfficialBottleneck
from resnest.torch.resnet import ResNet as OfficialResNet
from torch import Tensor

from service.networks import ARCHITECTURES, build
from service.networks.resnest import DEPTHS, FAST_50
from service.networks.resnet import ResNet
from tests.edges import edges
from tests.networks.sharing import TOLERANCE, distance, give, random_images, random_state

RELEASED = [
    *(f"resnest{depth}" for depth in DEPTHS if depth >= 50),
    *(f"resnest50_fast_{name}" for name in FAST_50),
]
# Not in the official package: two small variants of GluonCV, and the fast 101 of PyTorch-Encoding.
COMMON = {"radix": 2, "deep_stem": True, "avg_down": True, "avd": True}
BY_ARGUMENTS = {
    "resnest14": ([1, 1, 1, 1], {"stem_width": 32}),
    "resnest26": ([2, 2, 2, 2], {"stem_width": 32}),
    "resnest101_fast": ([3, 4, 23, 3], {"stem_width": 64, "avd_first": True}),
}
DILATION = {8: 4, 16: 2}  # output stride -> `dilation` of the official package


def official(name: str, **options: Any) -> Any:
    with torch.device("meta"):
        if name in BY_ARGUMENTS:
            layers, arguments = BY_ARGUMENTS[name]
            return OfficialResNet(OfficialBottleneck, layers, **COMMON, **arguments, **options)
        home = resnest.torch.ablation if "fast" in name else resnest.torch.resnest
        return getattr(home, name)(**options)


def ours(name: str, output_stride: int | None = None) -> ResNet:
    with torch.device("meta"):
        network = build(name, 1000, output_stride)
    assert isinstance(network, ResNet)
    return network


def official_stages(network: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
    c3 = network.layer3(network.layer2(network.layer1(x)))
    return c3, network.layer4(c3)


def test_the_list_of_variants_is_complete() -> None:
    assert set(RELEASED) == {*resnest.torch.ablation.__all__, *resnest.torch.resnest.__all__}
    assert {*RELEASED, *BY_ARGUMENTS} == {name for name in ARCHITECTURES if name.startswith("resnest")}


@pytest.mark.parametrize(
    "name", edges([*RELEASED, *BY_ARGUMENTS], "resnest14", "resnest50", "resnest50_fast_4s2x40d", "resnest101_fast")
)
def test_a_variant_equals_the_official_one(name: str) -> None:
    network, reference = ours(name), official(name)
    give(random_state(network), network, reference)
    x = random_images(65, 97)  # odd sides: pools round up in the shortcut and down in the block

    with torch.inference_mode():
        answer = reference(x)
        assert distance(network(x), answer) < TOLERANCE

    assert list(network.state_dict()) == list(reference.state_dict())
    assert answer.std() > 1e-2


@lru_cache(maxsize=1)  # from one test to the next, often only the sides of the image change
def pair(name: str) -> tuple[ResNet, Any]:
    network, reference = ours(name), official(name)
    give(random_state(network), network, reference)
    return network, reference


@pytest.mark.parametrize("sides", [(32, 32), (33, 64), (97, 95), (224, 224)])
@pytest.mark.parametrize("name", ["resnest14", "resnest50_fast_4s2x40d"])
def test_a_variant_equals_the_official_one_at_any_size(name: str, sides: tuple[int, int]) -> None:
    network, reference = pair(name)

    with torch.inference_mode():
        assert distance(network(random_images(*sides)), reference(random_images(*sides))) < TOLERANCE


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize(
    "name",
    edges(["resnest14", "resnest26", "resnest50", "resnest50_fast_2s2x40d", "resnest101"], "resnest14", "resnest50"),
)
def test_a_dilated_backbone_equals_the_official_one(name: str, output_stride: int) -> None:
    network, reference = ours(name, output_stride), official(name, dilation=DILATION[output_stride])
    give(random_state(network), network, reference)
    x = random_images(65, 80)

    with torch.inference_mode():
        for answer, expected in zip(network.stages(x)[2:], official_stages(reference, x), strict=True):
            assert distance(answer, expected) < TOLERANCE
        assert distance(network(x), reference(x)) < TOLERANCE


def test_dilation_changes_the_answer_and_the_maps_but_no_key() -> None:
    plain, dilated = ours("resnest14"), ours("resnest14", 8)
    give(random_state(plain), plain, dilated)
    x = random_images(64, 96)

    with torch.inference_mode():
        assert [tuple(each.shape[2:]) for each in plain.stages(x)] == [(16, 24), (8, 12), (4, 6), (2, 3)]
        assert [tuple(each.shape[2:]) for each in dilated.stages(x)] == [(16, 24), (8, 12), (8, 12), (8, 12)]
        assert distance(dilated(x), plain(x)) > 100 * TOLERANCE
