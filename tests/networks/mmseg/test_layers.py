"""The layers of MMSegmentation's heads against the formulas, and their keys against those of MMSegmentation."""

import hashlib
from pathlib import Path

import pytest
import torch

from service import networks
from service.networks.mmseg.layers import ConvModule, DepthwiseSeparableConvModule, MmsegHead, resize_like
from tests.models.weights.checkpoints import mmseg
from tests.networks import heads
from tests.networks.sharing import FINE_TOLERANCE, distance, give, random_state


@pytest.mark.parametrize("rate", [1, 3])
@pytest.mark.parametrize(("kernel", "groups"), [(3, 1), (3, 8), (1, 1)])
def test_a_convolution_is_normalised_and_activated_and_keeps_the_maps_size(kernel: int, groups: int, rate: int) -> None:
    part, x = ConvModule(8, 16, kernel, rate=rate, groups=groups), heads.features(8, 5, 9)
    give(random_state(part, dtype=torch.float64), part)

    with torch.inference_mode():
        assert distance(part(x), heads.layer(part.state_dict(), "conv", "bn", x, rate=rate)) < FINE_TOLERANCE


def test_a_separable_convolution_mixes_channels_only_at_one_place() -> None:
    part, x = DepthwiseSeparableConvModule(8, 5, rate=2), heads.features(8, 7, 6)
    give(random_state(part, dtype=torch.float64), part)
    state = {f"part.{key}": value for key, value in part.state_dict().items()}

    with torch.inference_mode():
        assert distance(part(x), heads.separable(state, "part", x, rate=2)) < FINE_TOLERANCE


def test_a_head_drops_whole_channels_in_training_and_none_when_it_serves() -> None:
    head, x = MmsegHead(64, 3), torch.ones(1, 64, 4, 4)
    torch.manual_seed(0)

    assert not torch.equal(head.train().classify(x), head.classify(x))
    assert torch.equal(head.eval().classify(x), head.classify(x))


@pytest.mark.parametrize("sides", [(12, 20), (11, 19), (6, 10), (1, 1)])
def test_a_map_is_resized_between_the_pixels_centres(sides: tuple[int, int]) -> None:
    x, like = heads.features(3, 6, 10), torch.empty(2, 1, *sides)

    assert distance(resize_like(x, like), heads.resize(x, sides, align_corners=False)) < FINE_TOLERANCE


# From the networks of MMSegmentation 1.2.2 in the configuration of its checkpoints for Cityscapes: the keys and shapes
# of the heads, and a digest of those of each backbone. With equal weights their logits equal ours
# (docs/decisions/0040).
HEADS = Path(__file__).with_name("heads.tsv")
BACKBONES = {
    "resnest101": "1d364c48a7a7c9eee8a6427702e697c4ff5eb82ba4584031e29ac2f57cf84f90",
    "resnet50c": "9b91f11ca39682ea9a4a8fea878dcba0f6c4a456cdb582792309c3b5b9c20f42",
    "resnet101c": "6ee4c7137b47d584f20978da2ea05a689048d22cc0a44c1789da63482d90fde2",
}


@pytest.mark.parametrize(
    ("head", "backbone"),
    [
        *((head, "resnest101") for head in ("mmseg_fcn", "mmseg_psp", "mmseg_deeplab", "mmseg_deeplabplus")),
        *((head, "resnet50c") for head in ("mmseg_psp", "mmseg_deeplab")),
        *((head, "resnet101c") for head in ("mmseg_uper", "mmseg_enc", "mmseg_da", "mmseg_psa97")),
    ],
)
def test_a_segmenter_has_the_keys_and_shapes_of_mmsegmentations(head: str, backbone: str) -> None:
    rows = [row.split("\t") for row in HEADS.read_text(encoding="utf-8").splitlines()[1:]]
    expected = {f"{key}\t{shape}" for name, key, shape in rows if name == head or key.startswith("auxiliary_head.")}

    with torch.device("meta"):
        state = networks.build(f"{head}_{backbone}", 19).state_dict()
    found = {f"{key}\t{'x'.join(map(str, value.shape))}" for key, value in mmseg(state).items()}

    trunk = {line for line in found if line.startswith("backbone.")}
    assert found - trunk == expected
    assert hashlib.sha256("\n".join(sorted(trunk)).encode()).hexdigest() == BACKBONES[backbone]
