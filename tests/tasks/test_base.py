"""What all tasks share: operations, endpoints, classes by label, and the check of probabilities."""

import dataclasses
from typing import Any, cast

import numpy as np
import pytest

from service.errors import InvalidParameter
from service.models.cards import ModelCard
from service.models.labels import Label
from service.tasks.base import PREDICT, Operation, Task, class_ids, has_probabilities, label_row, same_labels
from service.tasks.classification.classify import CLASSIFY
from service.tasks.shapes import Shape


def always(*_: object) -> bool:
    return True


def no_bytes(_card: ModelCard) -> int:
    return 0


PREDICTS, EMBEDS = Operation(PREDICT, always, no_bytes), Operation("embed", always, no_bytes)


def test_an_endpoint_needs_a_query_whose_every_field_has_a_default() -> None:
    class NoModel(Shape):
        lang: str = ""

    class Required(Shape):
        model: str = ""
        lang: str = ""
        most: int

    for query in (NoModel, Required):
        with pytest.raises(
            ValueError, match="/v1/classify: its query needs lang, model, and a default for every field"
        ):
            dataclasses.replace(CLASSIFY, query=cast("Any", query))


def test_a_network_of_another_library_can_only_predict(served: dict[str, ModelCard]) -> None:
    card = served["tiny-classifier"]
    foreign = card.model_copy(update={"network": card.network.model_copy(update={"library": "timm"})})
    task = Task("t", "s", (PREDICTS, EMBEDS), (), "", "", dict, lambda *_: 0.0, ("T", "t"))

    assert task.operations_of(card) == [PREDICTS, EMBEDS]
    assert task.operations_of(foreign) == [PREDICTS]
    assert task.by_name == {PREDICT: PREDICTS, "embed": EMBEDS}


def test_an_operation_has_the_input_and_the_limits_of_the_card(served: dict[str, ModelCard]) -> None:
    card = served["tiny-classifier"]

    assert PREDICTS.input(card) == card.input
    assert (PREDICTS.batch_size(card), PREDICTS.deadline_s(card)) == (8, 10)
    assert (PREDICTS.cost(card), PREDICTS.slots, PREDICTS.max_images) == (1, 1, None)


def test_an_endpoint_is_named_by_the_last_part_of_its_path() -> None:
    assert (CLASSIFY.path, CLASSIFY.name) == ("/v1/classify", "classify")


def test_classes_are_named_by_label_or_id_and_each_is_returned_once(served: dict[str, ModelCard]) -> None:
    card = served["tiny-classifier"]

    assert class_ids(card, ["rose", "0", "cat", "4"]) == [4, 0]
    with pytest.raises(InvalidParameter) as caught:
        class_ids(card, ["cat", "unicorn"])
    assert caught.value.problem()["errors"][0]["parameter"] == "classes"


def test_a_label_goes_before_an_id_because_labels_may_be_numbers(served: dict[str, ModelCard]) -> None:
    card = with_labels(served["tiny-classifier"], "1", "2", "0", "four")

    assert class_ids(card, ["0", "1", "2", "3", "four"]) == [2, 0, 1, 3]


def test_a_label_of_several_classes_is_refused_with_their_ids(served: dict[str, ModelCard]) -> None:
    card = with_labels(served["tiny-classifier"], "crane", "dog", "crane")

    assert class_ids(card, ["0", "2"]) == [0, 2]
    with pytest.raises(InvalidParameter, match="by its id, 0, 2"):
        class_ids(card, ["dog", "crane"])


def with_labels(card: ModelCard, *names: str) -> ModelCard:
    """Return the card with other classes."""
    classes = tuple(Label(class_id=index, label=name) for index, name in enumerate(names))
    return card.model_copy(update={"classes": classes})


def test_a_label_without_a_wordnet_id_has_no_such_member(served: dict[str, ModelCard]) -> None:
    label = served["tiny-classifier"].classes[1]

    assert label_row(label) == {"label": "dog", "class_id": 1}
    assert label_row(label.model_copy(update={"wnid": "n02084071"}))["wnid"] == "n02084071"


@pytest.mark.parametrize(
    ("scores", "fit"),
    [
        (np.array([0, 0.5, 1], np.float32), True),
        (np.array([0, 0.5, 1.00005], np.float32), True),  # rounding of a softmax in half precision
        (np.array([0, 0.5, 1.001], np.float32), False),
        (np.array([0, np.nan, 1], np.float32), False),
        (np.array([0, 0.5, 1], np.float64), False),
        (np.array([0.5, 0.5], np.float32), False),
        (np.array([[0, 0.5, 1]], np.float32), False),
    ],
)
def test_probabilities_are_one_finite_float32_of_each_class(scores: Any, *, fit: bool) -> None:
    assert has_probabilities(scores, 3) is fit


def test_classes_of_two_models_are_matched_by_label(served: dict[str, ModelCard]) -> None:
    flowers, pets = served["tiny-classifier"], served["tiny-segmenter"]

    assert same_labels(flowers, pets).tolist() == [-1, 0, 1]
    assert same_labels(pets, flowers).tolist() == [1, 2, -1, -1, -1, -1, -1]
