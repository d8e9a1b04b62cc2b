"""The limits and comparisons of segmentation."""

from pathlib import Path

import numpy as np
import pytest

from service.models import zoo
from service.models.cards import ModelCard
from service.models.inputs import Input
from service.tasks.base import Operation
from service.tasks.segmentation import task
from service.tasks.segmentation.task import SEGMENTATION
from tests.gateway.fixtures.fake_outputs import expected_arrays

STORE = Path(__file__).parents[3] / "model_store"


@pytest.fixture
def card(served: dict[str, ModelCard]) -> ModelCard:
    return served["tiny-segmenter"]


@pytest.mark.parametrize("operation", SEGMENTATION.operations, ids=lambda operation: operation.name)
def test_the_bytes_of_a_response_are_bounded(operation: Operation, card: ModelCard) -> None:
    height, width = operation.input(card).largest
    arrays = expected_arrays(card, np.zeros((height, width, 3), np.uint8), operation.name)

    assert sum(array.nbytes for array in arrays.values()) == operation.response_bytes(card)


def test_versions_agree_by_label_on_a_share_of_the_pixels(served: dict[str, ModelCard], card: ModelCard) -> None:
    flowers = served["tiny-classifier"]  # cat is class 0 there, and class 1 of the segmenter
    ours = {"mask": np.array([[1, 1], [1, 2]], np.uint8)}

    assert task.agreement(card, ours, card, ours) == 1
    assert task.agreement(card, ours, flowers, {"mask": np.zeros((2, 2), np.uint8)}) == 0.75


def test_a_mask_of_another_size_is_sampled_for_the_comparison(card: ModelCard) -> None:
    ours = np.array([[0, 1], [2, 0]], np.uint8)
    larger = np.kron(ours, np.ones((3, 2), np.uint8))

    assert task.agreement(card, {"mask": ours}, card, {"mask": larger}) == 1
    assert task.agreement(card, {"mask": larger}, card, {"mask": ours}) == 1


def test_the_best_mask_takes_ten_times_the_deadline_unless_the_card_names_one(card: ModelCard) -> None:
    named = card.model_copy(update={"multiscale": card.multiscale.model_copy(update={"deadline_s": 7.0})})

    assert task.multiscale_deadline_s(card) == 10 * card.serving.deadline_s
    assert task.multiscale_deadline_s(named) == 7
    assert task.details(named)["best"]["deadline_s"] == 7


def test_a_network_of_another_library_has_no_best_mask(card: ModelCard) -> None:
    foreign = card.model_copy(update={"network": card.network.model_copy(update={"library": "timm"})})

    assert task.details(foreign) == {}
    assert SEGMENTATION.operations_of(foreign) == [SEGMENTATION.operations[0]]


@pytest.mark.parametrize(
    "card", [card for name, card in zoo.read_zoo(STORE).items() if name.endswith("_ade")], ids=lambda card: card.name
)
def test_an_imported_segmenter_gets_the_input_of_the_published_one(card: ModelCard) -> None:
    assert Input.model_validate(SEGMENTATION.imported_input(card.network.name)) == card.input
