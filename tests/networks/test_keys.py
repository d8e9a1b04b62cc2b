"""The state_dict keys, shapes and order against the released key lists, and the published parameter counts."""

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from service.networks import build

LISTS = Path(__file__).parents[3] / "shared" / "data" / "keys"

# name -> (tensors in the state dict, trainable parameters). The parameter counts of the 50, 101, 200 and 269 are those
# published by the authors and the ONNX zoo; the tensors agree with the sizes of the released files.
CLASSIFIERS = {
    "resnest14": (152, 10_611_688),
    "resnest26": (260, 17_069_448),
    "resnest50": (476, 27_483_240),
    "resnest101": (935, 48_275_016),
    "resnest101_fast": (935, 48_275_016),
    "resnest200": (1826, 70_201_544),
    "resnest269": (2447, 110_929_480),
    "resnest50_fast_1s1x64d": (476, 26_217_896),
    "resnest50_fast_2s1x64d": (476, 27_483_240),
    "resnest50_fast_4s1x64d": (476, 31_912_712),
    "resnest50_fast_1s2x40d": (476, 25_946_680),
    "resnest50_fast_2s2x40d": (476, 26_943_792),
    "resnest50_fast_4s2x40d": (476, 30_417_592),
    "resnest50_fast_1s4x24d": (476, 25_677_000),
}
SEGMENTERS = {
    "deeplab_resnest50_ade": (526, 43_996_588),
    "deeplab_resnest101_ade": (985, 64_788_364),
    "deeplab_resnest200_ade": (1876, 86_714_892),
    "deeplab_resnest269_ade": (2497, 127_442_828),
    "deeplab_resnest50_pcontext": (526, 43_949_814),
    "deeplab_resnest101_pcontext": (985, 64_741_590),
    "deeplab_resnest200_pcontext": (1876, 86_668_118),
    "deeplab_resnest269_pcontext": (2497, 127_396_054),
    "fcn_resnest50_ade": (490, 37_347_756),
    "fcn_resnest50_pcontext": (490, 37_277_686),
}
PUBLISHED = CLASSIFIERS | SEGMENTERS
# MMSegmentation publishes no counts. These follow from the shapes of its heads; see `mmseg_parameters`.
MMSEG = {"mmseg_fcn": 961, "mmseg_psp": 973, "mmseg_deeplab": 979, "mmseg_deeplabplus": 1027}
# No key lists exist for these files. They differ from the ADE20K lists only in the shapes of the classifiers.
UNLISTED = {"deeplab_resnest101_pcontext", "deeplab_resnest200_pcontext", "deeplab_resnest269_pcontext"}
DATASETS = {"ade": 150, "pcontext": 59}


@cache
def network_of(published: str) -> nn.Module:
    """Return the network of a released file: `deeplab_resnest50_ade` is `deeplab_resnest50` with ADE20K's classes."""
    name, _, dataset = published.rpartition("_")
    with torch.device("meta"):
        return build(name, DATASETS[dataset]) if dataset in DATASETS else build(published, 1000)


def layout(network: nn.Module) -> list[str]:
    """Return `key<tab>shape` for every tensor, as in the lists; a scalar has the empty shape."""
    return [f"{key}\t{'x'.join(map(str, value.shape))}" for key, value in network.state_dict().items()]


@pytest.mark.parametrize("published", PUBLISHED)
def test_a_network_has_the_published_number_of_tensors_and_parameters(published: str) -> None:
    network = network_of(published)

    counts = len(network.state_dict()), sum(each.numel() for each in network.parameters())

    assert counts == PUBLISHED[published]


def mmseg_parameters(head: str, classes: int) -> int:
    """Count the weights of ResNeSt-101 without its classifier, the head (512 channels) and the auxiliary head (256)."""

    def conv(channels: int, out: int, kernel: int) -> int:
        return channels * out * kernel**2 + 2 * out  # plus scale and shift of the norm

    def separable(channels: int, out: int) -> int:
        return 9 * channels + 2 * channels + conv(channels, out, 1)

    pooled = conv(2048, 512, 1)
    parts = {
        "mmseg_fcn": conv(2048, 512, 3) + conv(512, 512, 3) + conv(2560, 512, 3),
        "mmseg_psp": 4 * pooled + conv(4096, 512, 3),
        "mmseg_deeplab": 2 * pooled + 3 * conv(2048, 512, 3) + conv(2560, 512, 3),
        "mmseg_deeplabplus": 2 * pooled + 3 * separable(2048, 512) + conv(2560, 512, 3) + conv(256, 48, 1)
        + separable(560, 512) + separable(512, 512),
    }  # fmt: skip
    trunk = CLASSIFIERS["resnest101"][1] - 2048 * 1000 - 1000
    auxiliary = conv(1024, 256, 3) + 256 * classes + classes
    return trunk + parts[head] + 512 * classes + classes + auxiliary


@pytest.mark.parametrize("classes", [19, 150])
@pytest.mark.parametrize("head", MMSEG)
def test_a_segmenter_of_mmsegmentations_has_the_weights_of_its_description(head: str, classes: int) -> None:
    with torch.device("meta"):
        network = build(f"{head}_resnest101", classes)

    counts = len(network.state_dict()), sum(each.numel() for each in network.parameters())

    assert counts == (MMSEG[head], mmseg_parameters(head, classes))


@pytest.mark.skipif(not LISTS.is_dir(), reason="the released key lists are not available")
def test_every_released_key_list_is_that_of_a_network() -> None:
    assert {path.stem for path in LISTS.glob("*.tsv")} == set(PUBLISHED) - UNLISTED


@pytest.mark.parametrize("published", [name for name in PUBLISHED if name not in UNLISTED])
def test_a_networks_keys_are_the_released_ones_in_their_order(published: str) -> None:
    path = LISTS / f"{published}.tsv"
    if not path.exists():
        pytest.skip(f"the released key list of {published} is not available")

    assert layout(network_of(published)) == path.read_text(encoding="utf-8").splitlines()
