"""The best mask, compared with a plain form of the published protocol (PyTorch-Encoding's MultiEvalModule)."""

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
FEW_SCALES = (0.5, 1.25)  # one window and several windows, in a tenth of the time of all scales
BASE, CROP = 48, 32  # one to four windows along a side, with as few pixels as the networks accept
BLACK = torch.tensor([-2.0, -1.5, -1.0], dtype=torch.float64).view(1, 3, 1, 1)
HEADS = ["deeplab_resnest14", "mmseg_psp_resnest14", "mmseg_deeplabplus_resnest14"]


def padded(image: Tensor, height: int, width: int) -> Tensor:
    """Return the image, padded with black at the bottom and on the right."""
    canvas = BLACK.to(image.dtype).repeat(1, 1, height, width)
    canvas[:, :, : image.shape[2], : image.shape[3]] = image
    return canvas


def whole(network: Segmenter, image: Tensor) -> Tensor:
    """Return exp(logits of the image + mirrored logits of the mirrored image), at the image's size."""
    size = (image.shape[2], image.shape[3])

    def logits(each: Tensor) -> Tensor:
        return resize(network.coarse(each), size, align_corners=network.align_corners)

    return (logits(image) + logits(image.flip(3)).flip(3)).exp()


def at_scale(network: Segmenter, image: Tensor, scale: float) -> Tensor:
    """Return the scores of one scale, at the size of the scaled image."""
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
            window = padded(resized[:, :, top:bottom, left:right], CROP, CROP)
            around = (left, columns - right, top, rows - bottom)
            found = whole(network, window)[:, :, : bottom - top, : right - left]
            scores = scores + torch.nn.functional.pad(found, around)
            count = count + torch.nn.functional.pad(torch.ones_like(found[:, :1]), around)
    return (scores / count)[:, :, :height, :width]


def published(network: Segmenter, image: Tensor, scales: Sequence[float] = SCALES) -> Tensor:
    """Return the scores (classes, h, w), summed over all scales at the image's own size."""
    size = (image.shape[2], image.shape[3])
    sums = [resize(at_scale(network, image, each), size, align_corners=network.align_corners) for each in scales]
    return torch.stack(sums).sum(dim=0)[0]


@cache
def random_network(name: str) -> Segmenter:
    """Return a network with five classes and a narrow head, in double precision. It is cached: do not change it."""
    with torch.device("meta"):
        network = networks.build(name, 5, head_channels=16)
    assert isinstance(network, Segmenter)
    give(random_state(network, dtype=torch.float64), network)
    last = last_layer(network)
    with torch.inference_mode():  # mean 0 and deviation 1 for each class, as a random network prefers one class
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
    return card.model_copy(update={"multiscale": Multiscale(window=CROP, scales=FEW_SCALES)})


def photo(height: int, width: int) -> Tensor:
    coarse = torch.randn(1, 3, 6, 8, generator=torch.Generator().manual_seed(height), dtype=torch.float64)
    return resize(coarse, (height, width), align_corners=True)


@pytest.mark.parametrize(
    ("name", "sides", "scales"),
    [(HEADS[0], (20, 100), SCALES), (HEADS[1], (30, 45), FEW_SCALES), (HEADS[2], (90, 70), FEW_SCALES)],
)
def test_the_best_mask_is_the_published_protocols(
    name: str, sides: tuple[int, int], scales: tuple[float, ...], card: ModelCard
) -> None:
    network, x = random_network(name), photo(*sides)
    card = card.model_copy(update={"multiscale": Multiscale(window=CROP, scales=scales)})
    with torch.inference_mode():
        expected = published(network, x, scales)
        found = multiscale(LoadedNetwork(network, card, BLACK), x)

    assert Multiscale(window=CROP).scales == SCALES

    likely, mask = (expected / expected.sum(dim=0)).max(dim=0)
    assert len(mask.unique()) > 1
    assert torch.equal(found["mask"][0].long(), mask)
    assert (found["confidence"][0] / 255 - likely).abs().max() <= 0.5 / 255 + 1e-6
    for class_id in mask.unique().tolist():
        mean = likely[mask == class_id].mean().item()
        assert found["class_scores"][0, class_id].item() == pytest.approx(mean, abs=1e-6)


def test_little_room_for_classes_changes_nothing_but_the_time(quick: ModelCard) -> None:
    network, x = random_network("deeplab_resnest14"), photo(50, 40)
    with torch.inference_mode():
        roomy, narrow = (multiscale(LoadedNetwork(network, quick, BLACK), x, room) for room in (1 << 30, 1))

    assert torch.equal(roomy["mask"], narrow["mask"])
    assert distance(narrow["class_scores"], roomy["class_scores"]) < 1e-6


def test_logits_whose_exponential_is_infinite_keep_their_order(quick: ModelCard) -> None:
    network, x = copy.deepcopy(random_network("deeplab_resnest14")), photo(50, 40)
    last = last_layer(network)
    with torch.inference_mode():
        last.weight.mul_(15)
        last.bias.mul_(15)
        expected = published(network, x, FEW_SCALES).argmax(dim=0)
        found = multiscale(LoadedNetwork(network.float(), quick, BLACK.float()), x.float())

    assert float(found["class_scores"].max()) <= 1
    assert (found["mask"][0] == expected).float().mean() > 0.99


def test_pictures_are_answered_one_by_one(quick: ModelCard) -> None:
    network = random_network("deeplab_resnest14")
    two = torch.cat([photo(40, 40), photo(41, 40)[:, :, :40]])
    with torch.inference_mode():
        together, second = (
            multiscale(LoadedNetwork(network, quick, BLACK), two),
            multiscale(LoadedNetwork(network, quick, BLACK), two[1:]),
        )

    assert torch.equal(together["mask"][1:], second["mask"])


Ask = Callable[[str], Any]


@pytest.fixture
def ask(store: Path, images: Pixels) -> Ask:
    card = cards.read(store / "tiny-segmenter")
    return lambda device: eager.load(card, device)("predict_multiscale", images[:2])


def test_a_worker_answers_the_best_mask_at_the_pictures_own_size(ask: Ask, images: Pixels) -> None:
    found = ask("cpu")
    assert found["mask"].shape == found["confidence"].shape == images[:2].shape[:3]
    assert found["mask"].dtype == found["confidence"].dtype == np.uint8
    assert found["class_scores"].shape == (2, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_the_best_mask_of_a_gpu_is_that_of_the_cpu(ask: Ask) -> None:
    on_cpu, on_gpu = ask("cpu"), ask("cuda")
    assert (on_cpu["mask"] == on_gpu["mask"]).mean() > 0.99
    np.testing.assert_allclose(on_cpu["class_scores"], on_gpu["class_scores"], atol=1e-2)
