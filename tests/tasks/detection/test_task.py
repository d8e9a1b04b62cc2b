"""What detection says about its models."""

from pathlib import Path

import numpy as np
import pytest

from service.models import zoo
from service.models.cards import ModelCard
from service.models.inputs import Input
from service.models.labels import Label
from service.tasks import task_of_network
from service.tasks.detection import task
from service.tasks.detection.task import DETECTION
from tests.gateway.fixtures.fake_outputs import expected_detections

STORE = Path(__file__).parents[3] / "model_store"


@pytest.fixture
def card(served: dict[str, ModelCard]) -> ModelCard:
    return served["tiny-detector"]


def test_the_bytes_of_a_response_are_bounded(card: ModelCard) -> None:
    (predict,) = DETECTION.operations
    arrays = expected_detections(card, np.zeros((8, 8, 3), np.uint8))
    per_detection = sum(array[0].nbytes for array in arrays.values())
    assert predict.response_bytes(card) == 100 * per_detection


def test_images_go_to_the_worker_one_by_one(card: ModelCard) -> None:
    (predict,) = DETECTION.operations
    assert predict.batch_size(card) == 1


def test_a_model_says_whether_it_has_masks_and_how_many_regions_it_classifies(card: ModelCard) -> None:
    assert task.details(card) == {"masks": True, "proposals": 30}
    published = card.network.model_copy(update={"name": "faster_rcnn_resnest50", "proposals": None})
    assert task.details(card.model_copy(update={"network": published})) == {"masks": False, "proposals": 1000}


def test_a_class_has_its_id_in_cocos_annotations() -> None:
    assert task.label(Label(class_id=15, label="cat", category_id=17)) == {
        "label": "cat",
        "class_id": 15,
        "category_id": 17,
        "color": "#000000",
    }
    assert "category_id" not in task.label(Label(class_id=0, label="cat"))


@pytest.mark.parametrize("name", ["mmdet_cascade_mask_rcnn_resnest101", "faster_rcnn_resnet50", "mask_rcnn_resnest50"])
def test_networks_of_its_names_are_detectors(name: str) -> None:
    assert task_of_network(name, "own") is DETECTION


PUBLISHED = [card for card in zoo.read_zoo(STORE).values() if card.task == DETECTION.name and card.published]


@pytest.mark.parametrize("card", PUBLISHED, ids=lambda card: card.name)
def test_an_imported_detector_gets_the_input_of_the_published_one(card: ModelCard) -> None:
    imported = Input.model_validate(DETECTION.imported_input(card.network.name))
    assert imported == card.input.model_copy(update={"resizer": "simd"})


def test_a_starter_detector_has_the_usual_statistics() -> None:
    assert "mean" not in DETECTION.imported_input("starter_mask_rcnn_resnest14")
