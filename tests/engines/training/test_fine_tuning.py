"""The fine-tuning of the last stages: what it changes, what it keeps, and that it learns."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from service.engines.training import fine_tuning, linear_head
from service.engines.training.fine_tuning import Examples, FineTuned, Recipe
from service.engines.training.linear_head import LinearHead
from service.models import cards
from service.models.cards import ModelCard
from service.models.weights import checkpoint
from tests.stores import write_store

RECIPE = Recipe(
    epochs=3,
    batch_size=8,
    learning_rate=0.02,
    warm_up=1,
    weight_decay=1e-4,
    label_smoothing=0.1,
    mixup=0.2,
    rand_augment=5,
    stages=1,
    seed=4,
)


def stripes(number: int, *, across: bool) -> Image.Image:
    """Return grey stripes of a random phase, across or down: no colour tells the two labels apart."""
    phase = np.random.default_rng(number).uniform(0, 6)
    wave = (127 + 100 * np.sin(np.arange(80) / 3 + phase)).astype(np.uint8)
    grey = np.broadcast_to(wave if across else wave[:, None], (80, 80))
    return Image.fromarray(np.repeat(grey[:, :, None], 3, axis=2))


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return cards.read(write_store(tmp_path_factory.mktemp("store"), "tiny-classifier") / "tiny-classifier")


def blank_head() -> LinearHead:
    return LinearHead(torch.zeros(2, 2048), torch.zeros(2), 1.0, 1.0, 0.7, 0.5, torch.zeros(4, 2))


def examples() -> Examples:
    images = [stripes(number, across=number % 2 == 0) for number in range(32)]
    validation = np.stack([np.array(stripes(100 + each, across=each % 2 == 0))[8:72, 8:72] for each in range(16)])
    return Examples(images, [number % 2 for number in range(32)], validation, np.arange(16) % 2)


def changed(found: FineTuned, before: Mapping[str, Tensor]) -> set[str]:
    """Return the first parts of the names of all weights that are not as before."""
    return {
        key.partition(".")[0] for key, value in found.state.items() if key in before and not value.equal(before[key])
    }


@pytest.fixture(scope="module")
def tuned(card: ModelCard) -> tuple[FineTuned, list[tuple[int, float, float]]]:
    epochs: list[tuple[int, float, float]] = []
    return fine_tuning.fine_tune(card, blank_head(), examples(), RECIPE, lambda *each: epochs.append(each)), epochs


def test_the_network_learns_what_the_head_alone_did_not_know(
    tuned: tuple[FineTuned, list[tuple[int, float, float]]],
) -> None:
    found, epochs = tuned

    assert [epoch for epoch, _, _ in epochs] == [1, 2, 3]
    assert epochs[-1][1] < epochs[0][1] + 0.05
    assert found.mean_recall >= 0.9
    assert found.log_loss < 0.5


def test_only_the_last_stage_and_the_head_change(
    tuned: tuple[FineTuned, list[tuple[int, float, float]]], card: ModelCard
) -> None:
    before = checkpoint.read(card)

    assert changed(tuned[0], before) == {"layer4", "fc"}
    assert tuned[0].state["fc.weight"].shape == (2, 2048)
    statistics = [key for key in before if "running_" in key]
    assert statistics
    assert all(tuned[0].state[key].equal(before[key]) for key in statistics)


def test_more_stages_change_on_request(card: ModelCard) -> None:
    found = fine_tuning.fine_tune(card, blank_head(), examples(), replace(RECIPE, epochs=1, stages=3))

    assert changed(found, checkpoint.read(card)) == {"layer2", "layer3", "layer4", "fc"}


def test_a_seed_repeats_the_training_on_one_thread(card: ModelCard) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        once = replace(RECIPE, epochs=1)
        first, again, other = (
            fine_tuning.fine_tune(card, blank_head(), examples(), replace(once, seed=seed)) for seed in (1, 1, 2)
        )
    finally:
        torch.set_num_threads(threads)

    torch.testing.assert_close(first.state["fc.weight"], again.state["fc.weight"])
    assert not torch.allclose(first.state["fc.weight"], other.state["fc.weight"], atol=1e-4)


def test_a_rare_label_weighs_as_much_as_a_frequent_one() -> None:
    weights = fine_tuning._class_weights([0] * 9 + [1])

    assert weights.tolist() == pytest.approx([10 / 18, 5])
    assert linear_head.mean_recall(torch.eye(2)[[0, 0, 0]], torch.tensor([0, 0, 1])) == 0.5
