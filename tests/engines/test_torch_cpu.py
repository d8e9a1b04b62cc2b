"""The PyTorch engine, compared with the same network run step by step."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.torch
import torch

from service import networks
from service.engines import torch_cpu
from service.models import cards
from tests.stores import serving

Pixels = npt.NDArray[np.uint8]


def logits(card: cards.ModelCard, images: Pixels) -> torch.Tensor:
    """Return the logits of the card's network for the images, from a direct computation."""
    network = networks.build(**card.network.arguments())
    network.load_state_dict(safetensors.torch.load_file(card.weights_path), strict=False)
    scaled = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (card.input.mean, card.input.std))
    with torch.no_grad():
        found: torch.Tensor = network.eval()((scaled - mean) / std)
    return found


def test_classification_answers_the_softmax_of_the_networks_logits(store: Path, images: Pixels) -> None:
    card = cards.read(store / "tiny-classifier")
    scores = torch_cpu.load(card, "cpu")(images)["scores"]
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, logits(card, images).softmax(dim=1), atol=1e-5)
    assert len({tuple(row.round(3)) for row in scores}) == len(images)


def test_segmentation_answers_the_likeliest_class_of_each_pixel(store: Path, images: Pixels) -> None:
    card = cards.read(store / "tiny-segmenter")
    mask = torch_cpu.load(card, "cpu")(images)["mask"]
    assert mask.dtype == np.uint8
    expected = logits(card, images)
    best, second = expected.topk(2, dim=1).values.unbind(dim=1)
    clear = (best - second > 1e-3).numpy()
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(mask[clear], expected.argmax(dim=1).numpy()[clear])


def test_a_class_scores_the_mean_probability_over_its_own_pixels(store: Path, images: Pixels) -> None:
    card = cards.read(store / "tiny-segmenter")
    answer = torch_cpu.load(card, "cpu")(images)
    confidence = logits(card, images).softmax(dim=1).amax(dim=1).numpy()
    for mask, scores, likely in zip(answer["mask"], answer["class_scores"], confidence, strict=True):
        expected = [likely[mask == class_id].mean() if (mask == class_id).any() else 0 for class_id in range(3)]
        np.testing.assert_allclose(scores, expected, atol=1e-4)
    assert answer["class_scores"].dtype == np.float32


@pytest.mark.parametrize("name", ["tiny-classifier", "tiny-segmenter"])
def test_a_picture_gets_the_same_answer_alone_as_in_a_batch(store: Path, images: Pixels, name: str) -> None:
    engine = torch_cpu.load(cards.read(store / name), "cpu")
    together = engine(images)
    for index in range(len(images)):
        for array, alone in engine(images[index : index + 1]).items():
            np.testing.assert_allclose(alone[0], together[array][index], atol=1e-5)


@pytest.mark.parametrize("shape", [(64, 16), (16, 64), (1, 64), (32, 48)])
def test_segmentation_takes_pictures_of_every_shape(store: Path, images: Pixels, shape: tuple[int, int]) -> None:
    engine = torch_cpu.load(cards.read(store / "tiny-segmenter"), "cpu")
    assert engine(images[:2, : shape[0], : shape[1]])["mask"].shape == (2, *shape)


@pytest.mark.parametrize("name", ["tiny-classifier", "tiny-segmenter"])
def test_a_card_that_asks_for_bfloat16_gets_it(store: Path, images: Pixels, name: str) -> None:
    card = cards.read(store / name)
    exact = torch_cpu.load(serving(card, precision="fp32"), "cpu")(images)
    coarse = torch_cpu.load(serving(card, precision="bf16"), "cpu")(images)
    for array in set(exact) - {"mask"}:
        assert coarse[array].dtype == np.float32
        assert (coarse[array] != exact[array]).any()
        # The limit for random weights. test_agreement.py has the limits for trained weights.
        assert np.abs(coarse[array] - exact[array]).mean() < 2e-2


def test_a_card_tells_how_many_threads_it_has(store: Path) -> None:
    before = torch.get_num_threads()
    try:
        torch_cpu.load(serving(cards.read(store / "tiny-classifier"), threads=3), "cpu")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["tiny-classifier", "tiny-segmenter"])
def test_a_gpu_answers_as_the_cpu_does(store: Path, images: Pixels, name: str) -> None:
    card = cards.read(store / name)
    ours, theirs = torch_cpu.load(card, "cuda")(images), torch_cpu.load(card, "cpu")(images)
    for array in set(ours) - {"mask"}:
        np.testing.assert_allclose(ours[array], theirs[array], atol=2e-3)
