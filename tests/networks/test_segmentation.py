"""DeepLabV3, FCN and the auxiliary head against a reference written from their description, key by key."""

from collections.abc import Callable, Mapping

import pytest
import torch
from resnest.torch.resnet import Bottleneck as OfficialBottleneck
from resnest.torch.resnet import ResNet as OfficialResNet
from torch import Tensor
from torch.nn import functional

from service.networks import build
from service.networks.deeplab import DeepLabV3Head
from service.networks.fcn import FCNHead
from service.networks.segmentation import Segmenter
from tests.networks.sharing import FINE_TOLERANCE, TOLERANCE, distance, give, picture, random_state

State = Mapping[str, Tensor]


def reference_layer(state: State, conv: str, norm: str, x: Tensor, *, rate: int = 1) -> Tensor:
    """Convolution without bias, batch norm by its formula, ReLU; padding keeps the map's size."""
    weight = state[f"{conv}.weight"]
    x = functional.conv2d(x, weight, padding=rate * (weight.shape[2] // 2), dilation=rate)
    mean, var, scale, shift = (
        state[f"{norm}.{name}"].view(1, -1, 1, 1) for name in ("running_mean", "running_var", "weight", "bias")
    )
    return ((x - mean) / (var + 1e-5).sqrt() * scale + shift).clamp(min=0)


def reference_classifier(state: State, name: str, x: Tensor) -> Tensor:
    return functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"])


def reference_deeplab(state: State, x: Tensor, root: str = "") -> Tensor:
    aspp = f"{root}aspp"
    branches = [reference_layer(state, f"{aspp}.b0.0", f"{aspp}.b0.1", x)]
    for branch, rate in (("b1", 12), ("b2", 24), ("b3", 36)):
        branches.append(reference_layer(state, f"{aspp}.{branch}.0", f"{aspp}.{branch}.1", x, rate=rate))
    mean = x.mean((2, 3), keepdim=True)
    pooled = reference_layer(state, f"{aspp}.b4.gap.1", f"{aspp}.b4.gap.2", mean)
    branches.append(functional.interpolate(pooled, x.shape[2:], mode="bilinear", align_corners=True))
    x = reference_layer(state, f"{aspp}.project.0", f"{aspp}.project.1", torch.cat(branches, dim=1))
    return reference_classifier(state, f"{root}block.4", reference_layer(state, f"{root}block.0", f"{root}block.1", x))


def reference_fcn(state: State, x: Tensor, root: str = "") -> Tensor:
    x = reference_layer(state, f"{root}conv5.0", f"{root}conv5.1", x)
    return reference_classifier(state, f"{root}conv5.4", x)


HEADS: dict[str, Callable[..., Tensor]] = {"deeplab": reference_deeplab, "fcn": reference_fcn}


def features(channels: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(2, channels, height, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("sides", [(1, 1), (5, 9), (75, 80)])  # the last is wider than two steps of rate 36
def test_the_deeplab_head_equals_the_reference(sides: tuple[int, int]) -> None:
    head, x = DeepLabV3Head(64, 5), features(64, *sides)
    give(random_state(head, dtype=torch.float64), head)

    with torch.inference_mode():
        assert distance(head(x), reference_deeplab(head.state_dict(), x)) < FINE_TOLERANCE


@pytest.mark.parametrize("sides", [(1, 1), (5, 9)])
def test_the_fcn_head_equals_the_reference(sides: tuple[int, int]) -> None:
    head, x = FCNHead(64, 5), features(64, *sides)
    give(random_state(head, dtype=torch.float64), head)

    with torch.inference_mode():
        assert distance(head(x), reference_fcn(head.state_dict(), x)) < FINE_TOLERANCE


@pytest.mark.parametrize("sides", [(64, 96), (65, 81)])
@pytest.mark.parametrize(("output_stride", "dilation"), [(8, 4), (16, 2)])
@pytest.mark.parametrize("head", HEADS)
def test_a_segmenter_is_the_official_dilated_backbone_with_a_head_and_an_auxiliary_head(
    head: str, output_stride: int, dilation: int, sides: tuple[int, int]
) -> None:
    with torch.device("meta"):
        network = build(f"{head}_resnest14", 6, output_stride)
        backbone = OfficialResNet(
            OfficialBottleneck, [1, 1, 1, 1], 2, deep_stem=True, stem_width=32, avg_down=True, avd=True,
            dilation=dilation, num_classes=1,
        )  # fmt: skip
    assert isinstance(network, Segmenter)
    state = random_state(network)
    give(state, network)
    trunk = {key.removeprefix("pretrained."): value for key, value in state.items() if key.startswith("pretrained.")}
    give({**trunk, "fc.weight": torch.zeros(1, 2048), "fc.bias": torch.zeros(1)}, backbone)
    x = picture(*sides)

    with torch.inference_mode():
        stem = backbone.maxpool(backbone.relu(backbone.bn1(backbone.conv1(x))))
        c3 = backbone.layer3(backbone.layer2(backbone.layer1(stem)))
        logits = HEADS[head](state, backbone.layer4(c3), "head."), reference_fcn(state, c3, "auxlayer.")
        expected = [functional.interpolate(each, sides, mode="bilinear", align_corners=True) for each in logits]
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
