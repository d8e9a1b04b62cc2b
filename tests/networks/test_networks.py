"""Properties of `networks.build` that hold for every name."""

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from service import networks
from service.networks.detection.spec import DETECTORS
from service.networks.resnet import ResNet
from service.networks.segmentation import Segmenter
from tests.edges import edges
from tests.networks.sharing import distance, give, random_images, random_state

# Every path through the block: radix 0, 1, 2 and 4, cardinality 1, 2, 4 and 32, and both stems.
KINDS = ["resnet50", "resnext50_32x4d", "resnet50d", "resnest50", "resnest50_fast_1s4x24d", "resnest50_fast_4s2x40d"]
SEGMENTERS = [f"{head}_resnest14" for head in networks.SEGMENTATION_HEADS]
EVERY_COMMIT = ("resnet50d", "resnest50", "resnest50_fast_4s2x40d", *SEGMENTERS[:2], SEGMENTERS[-1])


def ready(network: nn.Module) -> nn.Module:
    give(random_state(network), network)
    return network


def built(name: str, classes: int = 5, output_stride: int | None = None) -> nn.Module:
    """Return the network. The head of a segmenter is narrow: random weights of a wide one take most of the time."""
    with torch.device("meta"):
        network = networks.build(name, classes, output_stride, head_channels=16 if name in SEGMENTERS else None)
    return ready(network)


def shallow(name: str) -> nn.Module:
    """Return the network with one block in each stage: all of its operations in a tenth of the time."""
    if name in SEGMENTERS:
        return built(name)
    with torch.device("meta"):
        network = ResNet(replace(networks.ARCHITECTURES[name], blocks=(1, 1, 1, 1)), classes=5)
    return ready(network)


def test_an_unknown_name_is_a_key_error() -> None:
    for name in ("resnest51", "deeplab_resnest51", "unet_resnest50", "mmseg_resnest50", "deeplab", ""):
        with pytest.raises(KeyError):
            networks.build(name, 10)


def test_every_name_builds() -> None:
    with torch.device("meta"):
        for name in networks.names():
            if name in networks.ARCHITECTURES or name.endswith("_resnest14"):  # a head does not depend on the backbone
                networks.build(name, 3)

    names, heads = networks.names(), networks.SEGMENTATION_HEADS
    assert len(names) == len(set(names)) == (1 + len(heads)) * len(networks.ARCHITECTURES) + len(DETECTORS)


def test_a_classifier_gives_one_logit_a_class() -> None:
    with torch.inference_mode():
        assert built("resnest14", classes=7)(random_images(64, 64, count=2)).shape == (2, 7)


@pytest.mark.parametrize("name", edges(SEGMENTERS, *EVERY_COMMIT))
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_a_segmenter_answers_at_the_pictures_size(name: str, output_stride: int) -> None:
    with torch.inference_mode():
        assert built(name, 3, output_stride)(random_images(65, 97)).shape == (1, 3, 65, 97)


def test_segmenters_have_output_stride_8_and_classifiers_32_unless_told() -> None:
    x = torch.empty(1, 3, 64, 128, device="meta")
    with torch.device("meta"):
        segmenter, classifier = networks.build("deeplab_resnest14", 3).eval(), networks.build("resnest14", 3).eval()
    assert isinstance(segmenter.pretrained, ResNet)
    assert isinstance(classifier, ResNet)

    assert segmenter.pretrained.stages(x)[-1].shape == (1, 2048, 8, 16)
    assert classifier.stages(x)[-1].shape == (1, 2048, 2, 4)


def test_zero_classes_give_the_pooled_features() -> None:
    network, embedding = built("resnest14"), built("resnest14", classes=0)
    embedding.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("fc.")})
    x = random_images(64, 64)
    assert isinstance(network.fc, nn.Linear)

    with torch.inference_mode():
        features = embedding(x)
        assert features.shape == (1, 2048)
        assert distance(network.fc(features), network(x)) == 0


@pytest.mark.parametrize("name", edges([*KINDS, *SEGMENTERS], *EVERY_COMMIT))
def test_a_picture_gets_the_same_answer_alone_and_in_a_batch(name: str) -> None:
    network, images = shallow(name), random_images(64, 64, count=3)

    with torch.inference_mode():
        together = network(images)
        alone = torch.cat([network(images[i : i + 1]) for i in range(3)])

    assert distance(together, alone) < 1e-5  # another batch size may take another convolution algorithm


@pytest.mark.parametrize("name", edges([*KINDS, *SEGMENTERS], *EVERY_COMMIT))
def test_answering_changes_neither_the_network_nor_the_picture(name: str) -> None:
    network, x = shallow(name), random_images(64, 64, count=2)
    state, pixels = {key: value.clone() for key, value in network.state_dict().items()}, x.clone()

    with torch.inference_mode():
        network(x)

    assert torch.equal(x, pixels)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", edges(KINDS, *EVERY_COMMIT))
def test_in_training_every_parameter_of_a_classifier_gets_a_gradient(name: str) -> None:
    network = shallow(name).train()

    network(random_images(64, 64, count=4)).square().mean().backward()

    assert without_gradient(network) == []


# EncNet and DANet have further losses in training. DANet's attention between pixels begins with the factor 0.
OTHER_LOSSES = re.compile(r"head\.(se_layer|[pc]am_conv_seg|pam\.(query|key|value)_project)\.")


@pytest.mark.parametrize("name", edges(SEGMENTERS, *EVERY_COMMIT))
def test_in_training_the_auxiliary_head_of_a_segmenter_gets_a_gradient_too(name: str) -> None:
    network = shallow(name).train()
    assert isinstance(network, Segmenter)

    main, auxiliary = network.forward_with_auxiliary(random_images(64, 64, count=2))
    (main.square().mean() + 0.2 * auxiliary.square().mean()).backward()

    assert main.shape == auxiliary.shape == (2, 5, 64, 64)
    assert [each for each in without_gradient(network) if not OTHER_LOSSES.search(each)] == []


def without_gradient(network: nn.Module) -> list[str]:
    """Return the parameters without a gradient, or with one that is not finite or all zeros."""
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    return [
        name
        for name, gradient in gradients.items()
        if gradient is None or not bool(gradient.isfinite().all()) or not bool(gradient.any())
    ]


@pytest.mark.parametrize("name", edges(["resnest50", *SEGMENTERS], *EVERY_COMMIT))
@pytest.mark.filterwarnings("ignore:`torch.jit.:DeprecationWarning")
def test_a_trace_answers_for_other_batches_and_sizes(name: str) -> None:
    sides = (80, 112) if "_psa" in name else (65, 97)  # PSANet's trace is for even maps
    network, other = shallow(name), random_images(*sides, count=2)

    with torch.inference_mode():
        traced = torch.jit.trace(network, random_images(64, 64), check_trace=False)
        assert distance(traced(other), network(other)) < 1e-5


@pytest.mark.parametrize("name", ["resnest50", "deeplab_resnest14"])
def test_an_export_answers_for_other_batches(name: str) -> None:
    network, other = shallow(name), random_images(64, 64, count=3)

    exported = torch.export.export(
        network, (random_images(64, 64, count=2),), dynamic_shapes=({0: torch.export.Dim("batch", max=64)},)
    )
    with torch.inference_mode():
        assert distance(exported.module()(other), network(other)) < 1e-5
