"""The best mask against the published protocol, written out step by step (PyTorch-Encoding's MultiEvalModule)."""

import copy
import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from service import networks
from service.engines import eager
from service.models import cards
from service.models.cards import ModelCard
from service.models.inputs import Multiscale
from service.networks.segmentation import Segmenter
from service.tasks.segmentation.multiscale_head import multiscale
from service.tasks.torch_head import LoadedNetwork
from tests.networks.heads import resize
from tests.networks.sharing import distance, give, random_state

Pixels = npt.NDArray[np.uint8]
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
FEW = (0.5, 1.25)  # one window, and several: enough for what holds at every scale, in a tenth of the time
BASE, CROP = 48, 32  # one to four windows along a side, as few pixels as the networks take
BLACK = torch.tensor([-2.0, -1.5, -1.0], dtype=torch.float64).view(1, 3, 1, 1)
HEADS = ["deeplab_resnest14", "mmseg_psp_resnest14", "mmseg_deeplabplus_resnest14"]


def padded(image: Tensor, height: int, width: int) -> Tensor:
    """Black at the bottom and on the right."""
    canvas = BLACK.to(image.dtype).repeat(1, 1, height, width)
    canvas[:, :, : image.shape[2], : image.shape[3]] = image
    return canvas


def whole(network: Segmenter, image: Tensor) -> Tensor:
    """The exponential of the logits, of the picture and of its mirror image turned back, at its size."""
    size = (image.shape[2], image.shape[3])

    def logits(each: Tensor) -> Tensor:
        return resize(network.coarse(each), size, align_corners=network.align_corners)

    return (logits(image) + logits(image.flip(3)).flip(3)).exp()


def at_scale(network: Segmenter, image: Tensor, scale: float) -> Tensor:
    """The scores at one scale, at the scale's own size."""
    long = math.ceil(BASE * scale)
    h, w = image.shape[2:]
    if h > w:
        height, width = long, int(1.0 * w * long / h + 0.5)
    else:
        height, width = int(1.0 * h * long / w + 0.5), long
    resized = resize(image, (height, width), align_corners=network.align_corners)
    if long <= CROP:
        return whole(network, padded(resized, CROP, CROP))[:, :, :height, :width]
    rows, columns, stride = max(height, CROP), max(width, CROP), int(CROP * 2.0 / 3.0)
    resized = padded(resized, rows, columns)
    scores = count = torch.zeros(1, 1, rows, columns, dtype=image.dtype)
    for row in range(math.ceil((rows - CROP) / stride) + 1):
        for column in range(math.ceil((columns - CROP) / stride) + 1):
            top, left = row * stride, column * stride
            bottom, right = min(top + CROP, rows), min(left + CROP, columns)
            seen = padded(resized[:, :, top:bottom, left:right], CROP, CROP)
            around = (left, columns - right, top, rows - bottom)
            found = whole(network, seen)[:, :, : bottom - top, : right - left]
            scores = scores + torch.nn.functional.pad(found, around)
            count = count + torch.nn.functional.pad(torch.ones_like(found[:, :1]), around)
    return (scores / count)[:, :, :height, :width]


def published(network: Segmenter, image: Tensor, scales: Sequence[float] = SCALES) -> Tensor:
    """The scores (classes, h, w) of all scales, summed at the picture's own size."""
    size = (image.shape[2], image.shape[3])
    sums = [resize(at_scale(network, image, each), size, align_corners=network.align_corners) for each in scales]
    return torch.stack(sums).sum(dim=0)[0]


@cache
def made(name: str) -> Segmenter:
    """A network in double precision that tells five classes; not to be changed."""
    with torch.device("meta"):
        network = networks.build(name, 5)
    assert isinstance(network, Segmenter)
    give(random_state(network, dtype=torch.float64), network)
    last = last_layer(network)
    with torch.inference_mode():  # a random network prefers one class everywhere: mean 0 and deviation 1 for each
        logits = network.coarse(photo(96, 96)).transpose(0, 1).flatten(1)
        gain = 1 / logits.std(dim=1)
        last.weight.mul_(gain.view(-1, 1, 1, 1))
        last.bias.sub_(logits.mean(dim=1)).mul_(gain)
    return network


def last_layer(network: Segmenter) -> Any:
    names = dict(network.head.named_modules())
    return names.get("block.4") or names["conv_seg"]


@pytest.fixture
def card(store: Path) -> ModelCard:
    card = cards.read(store / "tiny-segmenter")
    return card.model_copy(
        update={"multiscale": Multiscale(window=CROP), "input": card.input.model_copy(update={"size": BASE})}
    )


@pytest.fixture
def quick(card: ModelCard) -> ModelCard:
    return card.model_copy(update={"multiscale": Multiscale(window=CROP, scales=FEW)})


def photo(height: int, width: int) -> Tensor:
    coarse = torch.randn(1, 3, 6, 8, generator=torch.Generator().manual_seed(height), dtype=torch.float64)
    return resize(coarse, (height, width), align_corners=True)


@pytest.mark.parametrize(
    ("name", "sides"),
    [(HEADS[0], (20, 100)), (HEADS[1], (30, 45)), (HEADS[2], (90, 70))],
)
def test_the_best_mask_is_the_published_protocols(name: str, sides: tuple[int, int], card: ModelCard) -> None:
    network, x = made(name), photo(*sides)
    with torch.inference_mode():
        expected = published(network, x)
        found = multiscale(LoadedNetwork(network, card, BLACK), x)

    likely, mask = (expected / expected.sum(dim=0)).max(dim=0)
    assert len(mask.unique()) > 1
    assert torch.equal(found["mask"][0].long(), mask)
    assert (found["confidence"][0] / 255 - likely).abs().max() <= 0.5 / 255 + 1e-6
    for class_id in mask.unique().tolist():
        mean = likely[mask == class_id].mean().item()
        assert found["class_scores"][0, class_id].item() == pytest.approx(mean, abs=1e-6)


def test_little_room_for_classes_changes_nothing_but_the_time(quick: ModelCard) -> None:
    network, x = made("deeplab_resnest14"), photo(50, 40)
    with torch.inference_mode():
        roomy, narrow = (multiscale(LoadedNetwork(network, quick, BLACK), x, room) for room in (1 << 30, 1))

    assert torch.equal(roomy["mask"], narrow["mask"])
    assert distance(narrow["class_scores"], roomy["class_scores"]) < 1e-6


def test_logits_whose_exponential_is_infinite_keep_their_order(quick: ModelCard) -> None:
    network, x = copy.deepcopy(made("deeplab_resnest14")), photo(50, 40)
    last = last_layer(network)
    with torch.inference_mode():
        last.weight.mul_(15)
        last.bias.mul_(15)
        expected = published(network, x, FEW).argmax(dim=0)
        found = multiscale(LoadedNetwork(network.float(), quick, BLACK.float()), x.float())

    assert float(found["class_scores"].max()) <= 1
    assert (found["mask"][0] == expected).float().mean() > 0.99


def test_pictures_are_answered_one_by_one(quick: ModelCard) -> None:
    network = made("deeplab_resnest14")
    two = torch.cat([photo(40, 40), photo(41, 40)[:, :, :40]])
    with torch.inference_mode():
        together, second = (
            multiscale(LoadedNetwork(network, quick, BLACK), two),
            multiscale(LoadedNetwork(network, quick, BLACK), two[1:]),
        )

    assert torch.equal(together["mask"][1:], second["mask"])


Ask = Callable[[str], Any]


@pytest.fixture
def ask(store: Path, pictures: Pixels) -> Ask:
    card = cards.read(store / "tiny-segmenter")
    return lambda device: eager.load(card, device)("predict_multiscale", pictures[:2])


def test_a_worker_answers_the_best_mask_at_the_pictures_own_size(ask: Ask, pictures: Pixels) -> None:
    found = ask("cpu")
    assert found["mask"].shape == found["confidence"].shape == pictures[:2].shape[:3]
    assert found["mask"].dtype == found["confidence"].dtype == np.uint8
    assert found["class_scores"].shape == (2, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_the_best_mask_of_a_gpu_is_that_of_the_cpu(ask: Ask) -> None:
    here, there = ask("cpu"), ask("cuda")
    assert (here["mask"] == there["mask"]).mean() > 0.99
    np.testing.assert_allclose(here["class_scores"], there["class_scores"], atol=1e-2)
