"""The complete segmenter: the official dilated backbone, a head, an auxiliary head, and upsampling."""

from functools import lru_cache
from typing import Any

import pytest
import torch
from resnest.torch.resnet import Bottleneck as OfficialBottleneck
from resnest.torch.resnet import ResNet as OfficialResNet
from torch.nn import functional

from service.networks import build
from service.networks.segmentation import Segmenter
from tests.edges import edges
from tests.networks.heads import HEADS, MMSEG, State, fcn, mmseg_auxiliary, resize
from tests.networks.sharing import TOLERANCE, distance, give, random_images, random_state


@lru_cache(maxsize=1)  # from one test to the next, often only the sides of the image change
def pair(name: str, output_stride: int, dilation: int) -> tuple[Segmenter, Any, State]:
    """Return a segmenter, the official backbone with the same weights, and those weights."""
    with torch.device("meta"):
        network = build(name, 6, output_stride)
        backbone = OfficialResNet(
            OfficialBottleneck, [1, 1, 1, 1], 2, deep_stem=True, stem_width=32, avg_down=True, avd=True,
            dilation=dilation, num_classes=1,
        )  # fmt: skip
    assert isinstance(network, Segmenter)
    state = random_state(network)
    give(state, network)
    trunk = {key.removeprefix("pretrained."): value for key, value in state.items() if key.startswith("pretrained.")}
    give({**trunk, "fc.weight": torch.zeros(1, 2048), "fc.bias": torch.zeros(1)}, backbone)
    return network, backbone, state


@pytest.mark.parametrize("sides", edges([(64, 96), (65, 81)], (65, 81)))
@pytest.mark.parametrize(("output_stride", "dilation"), [(8, 4), (16, 2)])
@pytest.mark.parametrize("head", HEADS)
def test_a_segmenter_is_the_official_dilated_backbone_with_a_head_and_an_auxiliary_head(
    head: str, output_stride: int, dilation: int, sides: tuple[int, int]
) -> None:
    network, backbone, state = pair(f"{head}_resnest14", output_stride, dilation)
    x = random_images(*sides)

    with torch.inference_mode():
        stem = backbone.maxpool(backbone.relu(backbone.bn1(backbone.conv1(x))))
        c3 = backbone.layer3(backbone.layer2(backbone.layer1(stem)))
        logits = HEADS[head](state, backbone.layer4(c3), "head."), fcn(state, c3, "auxlayer.")
        expected = [functional.interpolate(each, sides, mode="bilinear", align_corners=True) for each in logits]
        main, auxiliary = network.forward_with_auxiliary(x)

        assert distance(main, expected[0]) < TOLERANCE
        assert distance(auxiliary, expected[1]) < TOLERANCE
        assert torch.equal(network(x), main)


@pytest.mark.parametrize("sides", edges([(64, 96), (65, 81)], (65, 81)))
@pytest.mark.parametrize("head", MMSEG)
def test_a_segmenter_of_mmsegmentations_is_that_backbone_without_the_pools_that_dilation_left_over(
    head: str, sides: tuple[int, int]
) -> None:
    """Its blocks pool only where they have a stride, and upsampling does not align corners."""
    network, backbone, state = pair(f"{head}_resnest14", 8, 4)
    backbone.layer3[0].avd = backbone.layer4[0].avd = False
    x = random_images(*sides)

    with torch.inference_mode():
        c1 = backbone.layer1(backbone.maxpool(backbone.relu(backbone.bn1(backbone.conv1(x)))))
        c2 = backbone.layer2(c1)
        c3 = backbone.layer3(c2)
        c4 = backbone.layer4(c3)
        maps = {"mmseg_deeplabplus": (c4, c1), "mmseg_uper": (c1, c2, c3, c4)}.get(head, (c4,))
        logits = MMSEG[head](state, *maps, root="head."), mmseg_auxiliary(state, c3, "auxlayer.")
        expected = [resize(each, sides, align_corners=False) for each in logits]
        main, auxiliary = network.forward_with_auxiliary(x)

        assert distance(main, expected[0]) < TOLERANCE
        assert distance(auxiliary, expected[1]) < TOLERANCE
        assert torch.equal(network(x), main)


def test_upsampling_keeps_the_corners_unless_told_otherwise() -> None:
    network = build("fcn_resnest14", 2)
    assert isinstance(network, Segmenter)
    other = Segmenter(network.pretrained, network.head, network.auxlayer, align_corners=False)
    ramp = torch.tensor([[[[0.0, 1.0]]]])

    assert network.upsample(ramp, (1, 4)).flatten().tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert other.upsample(ramp, (1, 4)).flatten().tolist() == pytest.approx([0, 0.25, 0.75, 1])


def test_the_backbone_of_a_segmenter_has_no_classifier() -> None:
    with torch.device("meta"):
        keys = list(build("deeplab_resnest14", 3).state_dict())

    assert not [key for key in keys if "fc.weight" in key]
    assert {key.split(".")[0] for key in keys} == {"pretrained", "head", "auxlayer"}


def test_a_segmenter_without_its_auxiliary_head_answers_the_same_and_cannot_train_with_it() -> None:
    with torch.device("meta"):
        whole, bare = build("deeplab_resnest14", 3), build("deeplab_resnest14", 3, auxiliary=False)
    state = random_state(whole)
    give(state, whole)
    give({key: value for key, value in state.items() if not key.startswith("auxlayer.")}, bare)
    assert isinstance(bare, Segmenter)
    x = random_images(64, 64)

    with torch.inference_mode():
        assert torch.equal(bare(x), whole(x))
        with pytest.raises(ValueError, match="without its auxiliary head"):
            bare.forward_with_auxiliary(x)


def test_a_segmenter_may_have_a_narrower_head() -> None:
    with torch.device("meta"):
        state = build("deeplab_resnest14", 3, head_channels=24).state_dict()

    assert {value.shape[0] for key, value in state.items() if key.startswith("head.") and value.ndim} == {24, 3}
    assert state["auxlayer.conv5.0.weight"].shape == (256, 1024, 3, 3)
