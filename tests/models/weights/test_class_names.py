"""The class names that a checkpoint states, and labels that contradict them."""

from collections import OrderedDict
from typing import Any

import pytest

from service.models.labels import Label
from service.models.weights import class_names
from service.models.weights.checksums import WeightsError

LABELS = tuple(Label(class_id=index, label=name) for index, name in enumerate(("cat", "dog", "red fox")))
OTHER_ORDER = ("dog", "cat", "red fox")
# Forms in which training scripts state the names, of names in the order of the class ids.
FORMS: dict[str, Any] = {
    "torchvision's folders": lambda names: {"class_to_idx": {name: index for index, name in enumerate(names)}},
    "a list": lambda names: {"classes": list(names), "epoch": 5},
    "OpenMMLab": lambda names: {"meta": {"CLASSES": tuple(names)}},
    "OpenMMLab 3": lambda names: {"meta": {"dataset_meta": {"classes": tuple(names)}}},
    "Hugging Face": lambda names: {"config": {"id2label": {str(index): name for index, name in enumerate(names)}}},
    "numbers as keys": lambda names: {"idx_to_class": dict(enumerate(names))},
    "Lightning": lambda names: OrderedDict(hyper_parameters={"class_names": list(names)}),
    "other case and blanks": lambda names: {"names": [name.upper().replace(" ", "_") for name in names]},
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_in_another_order_are_refused_with_the_order_of_the_checkpoint(form: str) -> None:
    with pytest.raises(WeightsError, match=r"class 0 is (dog|DOG), and the labels say cat; .*(dog, cat|DOG, CAT)"):
        class_names.check(FORMS[form](OTHER_ORDER), LABELS)


@pytest.mark.parametrize("form", FORMS)
def test_labels_in_the_same_order_are_accepted(form: str) -> None:
    content = FORMS[form](tuple(each.label for each in LABELS))
    assert list(class_names.stated(content))
    class_names.check(content, LABELS)


def test_folders_of_numbers_are_in_another_order_for_the_training_script() -> None:
    names = sorted(str(number) for number in range(11))
    labels = tuple(Label(class_id=number, label=str(number)) for number in range(11))
    with pytest.raises(WeightsError, match="class 2 is 10, and the labels say 2"):
        class_names.check({"class_to_idx": {name: index for index, name in enumerate(names)}}, labels)


def test_wordnet_ids_count_as_names() -> None:
    labels = tuple(Label(class_id=index, label=str(index), wnid=f"n0000000{index}") for index in range(3))
    class_names.check({"classes": ["n00000000", "n00000001", "n00000002"]}, labels)
    with pytest.raises(WeightsError, match="class 1 is n00000002"):
        class_names.check({"classes": ["n00000000", "n00000002", "n00000001"]}, labels)


@pytest.mark.parametrize(
    "content",
    [
        {"classes": ["Hund", "Katze", "Fuchs"]},
        {"classes": ["dog", "cat"]},
        {"classes": ["dog", "cat", "fox", "wolf"]},
        {"classes": 3},
        {"classes": {"dog": 5, "cat": 6, "red fox": 7}},
        {"best_of": ["dog", "cat", "red fox"]},
        {"labels": [0, 1, 2]},
        ["dog", "cat", "red fox"],
    ],
    ids=str,
)
def test_names_that_contradict_no_label_are_left_alone(content: Any) -> None:
    class_names.check(content, LABELS)
