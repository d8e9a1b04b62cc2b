"""Whole networks of every family, in every form, against the reference."""

import copy
from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from torch import nn

from service import networks
from service.networks.detection.detector import Detector
from service.networks.detection.spec import DETECTORS
from service.networks.inference_form import REFERENCE, Form, rewrite
from service.networks.inference_form.atrous import CroppedTaps
from service.networks.split_attention import SplitAttentionConv2d
from tests.edges import edges
from tests.networks.inference_form.comparison import assert_close, assert_equal, random_map, randomised

FORMS = {
    "folded": Form(fold=True),
    "splits": Form(fold=True, split_attention=True),
    "splits without folding first": Form(split_attention=True),
    "all": Form(fold=True, split_attention=True, split_first=True, taps=True),
}
BACKBONES = [
    "resnest14",
    "resnest26",
    "resnest50_fast_1s4x24d",
    "resnest50_fast_4s2x40d",
    "resnet14d",
    "resnet50",
    "resnext50_32x4d",
]


def built(name: str, head_channels: int | None = None) -> nn.Module:
    torch.manual_seed(0)
    return randomised(networks.build(name, 7, head_channels=head_channels))


@lru_cache(maxsize=1)  # from one test to the next, often only the form changes
def answered(
    name: str, head_channels: int | None, count: int, height: int, width: int
) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Return a network, images, and its logits of them. Rewrite a copy of the network."""
    network, x = built(name, head_channels), random_map(count, 3, height, width)
    return network, x, network(x)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("name", BACKBONES)
@torch.inference_mode()
def test_a_classifier_gives_the_same_logits(name: str, form: Form) -> None:
    network, x, expected = answered(name, None, 2, 65, 49)
    assert_equal(rewrite(copy.deepcopy(network), form)(x), expected)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("head", networks.SEGMENTATION_HEADS)
@pytest.mark.parametrize("sides", edges([(64, 96), (41, 233)], (41, 233)), ids=str)
@torch.inference_mode()
def test_a_segmenter_gives_the_same_logits(head: str, sides: tuple[int, int], form: Form) -> None:
    network, x, expected = answered(f"{head}_resnest14", 16, 1, *sides)
    assert_equal(rewrite(copy.deepcopy(network), form)(x), expected)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("name", ["faster_rcnn_resnest50", "mmdet_mask_rcnn_resnet50"])
@torch.inference_mode()
def test_the_graphs_of_a_detector_give_the_same(name: str, form: Form) -> None:
    spec = replace(DETECTORS[name], backbone=DETECTORS[name].backbone.replace("resnest50", "resnest14"), channels=16)
    torch.manual_seed(0)
    network = randomised(Detector(spec, 7))
    assert isinstance(network, Detector)
    image, features, larger = random_map(1, 3, 64, 96), random_map(3, 16, 7, 7), random_map(3, 16, 14, 14)

    def run() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return the logits of classes, and everything else."""
        answers = [head(features) for head in network.box_heads]
        masks = [head(larger) for head in network.mask_heads]
        return [logits for logits, _ in answers], [*network.trunk(image), *(deltas for _, deltas in answers), *masks]

    expected_logits, expected = run()
    rewrite(network, form)
    found_logits, found = run()
    for one, before in zip(found_logits, expected_logits, strict=True):
        assert_equal(one, before)
    for one, before in zip(found, expected, strict=True):
        assert_close(one, before)
    if form.fold:
        assert not [each for each in network.modules() if isinstance(each, nn.BatchNorm2d)]


def test_without_a_form_the_network_is_the_reference() -> None:
    network = built("resnest14")
    before = copy.deepcopy(network)
    assert rewrite(network, REFERENCE) is network
    assert [type(module) for module in network.modules()] == [type(module) for module in before.modules()]


def test_the_whole_form_leaves_no_norm_and_no_fifth_axis() -> None:
    rewritten = rewrite(built("deeplab_resnest14", head_channels=16), FORMS["all"])
    assert not any(isinstance(module, nn.BatchNorm2d | SplitAttentionConv2d) for module in rewritten.modules())
    assert sum(isinstance(module, CroppedTaps) for module in rewritten.modules()) == 3
