"""The model registry: which models are served, and which one a request means."""

from pathlib import Path

import pytest

from service.config.settings import Settings
from service.errors import ModelNotFound
from service.gateway.inference.registry import ModelRegistry
from service.models import model_order
from service.models.cards import CardError, ModelCard
from service.models.labels import Label
from service.tasks.base import label_row


@pytest.fixture
def registry(served: dict[str, ModelCard], store: Path) -> ModelRegistry:
    return ModelRegistry(served, Settings(model_store=store))


def chosen(registry: ModelRegistry, *names: str) -> list[str]:
    return [card.name for card in registry.choose("classification", names)]


def test_the_first_of_the_task_answers_where_none_is_named(registry: ModelRegistry) -> None:
    assert registry.default("classification").name == "tiny-classifier"


def test_models_are_chosen_in_the_order_they_are_named_each_once(registry: ModelRegistry) -> None:
    named = ("tiny-classifier-b", "tiny-classifier", "tiny-classifier-b")

    assert chosen(registry, *named) == ["tiny-classifier-b", "tiny-classifier"]


def test_a_model_that_is_not_by_default_is_served_only_where_it_is_named(
    served: dict[str, ModelCard], store: Path
) -> None:
    quiet = served["tiny-classifier-b"].serving.model_copy(update={"by_default": False})
    cards = served | {"tiny-classifier-b": served["tiny-classifier-b"].model_copy(update={"serving": quiet})}

    assert set(ModelRegistry(cards, Settings(model_store=store)).cards) == set(served) - {"tiny-classifier-b"}
    named = Settings(model_store=store, models=("tiny-classifier-b",))
    assert set(ModelRegistry(cards, named).cards) == {"tiny-classifier-b"}


@pytest.mark.parametrize("names", [("nobody",), ("tiny-classifier", "nobody"), ("tiny-segmenter",), ("",)])
def test_one_name_that_does_not_serve_the_task_is_enough_to_refuse(names: tuple[str], registry: ModelRegistry) -> None:
    with pytest.raises(ModelNotFound) as raised:
        registry.choose("classification", names)

    assert raised.value.members["available"] == ["tiny-classifier", "tiny-classifier-b"]


@pytest.mark.parametrize(
    ("task", "name", "detail"),
    [
        ("classification", "nobody", "No model of that name is served for classification."),
        ("classification", "tiny-detector", "tiny-detector is served for detection: POST /v1/detect."),
        ("detection", "tiny-segmenter", "tiny-segmenter is served for segmentation: POST /v1/segment."),
        ("segmentation", "tiny-classifier", "tiny-classifier is served for classification: POST /v1/classify."),
        (
            "classification",
            "Tiny-Clasifier",
            "No model of that name is served for classification. Did you mean tiny-classifier?",
        ),
        (
            "classification",
            "tiny-detectr",
            "No model of that name is served for classification. Did you mean tiny-detector? "
            "It is served for detection: POST /v1/detect.",
        ),
    ],
)
def test_a_name_that_does_not_serve_the_task_is_told_what_serves_it_or_a_similar_name(
    task: str, name: str, detail: str, registry: ModelRegistry
) -> None:
    with pytest.raises(ModelNotFound) as raised:
        registry.choose(task, [name])

    assert raised.value.detail == detail


@pytest.mark.parametrize(("name", "called"), [("nobody", "nobody"), ("<b>no name</b>", "of that name")])
def test_of_several_names_the_one_that_is_not_served_is_told_if_a_model_may_have_it(
    name: str, called: str, registry: ModelRegistry
) -> None:
    with pytest.raises(ModelNotFound) as raised:
        registry.choose("classification", ["tiny-classifier", name])

    assert raised.value.detail == f"No model {called} is served for classification."


def test_the_most_similar_name_of_all_tasks_is_told_where_no_task_is_asked(registry: ModelRegistry) -> None:
    with pytest.raises(ModelNotFound) as raised:
        registry.card("tiny-detectr")

    assert raised.value.detail == "No model of that name is served. Did you mean tiny-detector?"


@pytest.mark.parametrize("names", [[], ["nobody"], ["tiny-classifier"]])
def test_a_task_without_a_model_is_told_as_such(names: list[str], served: dict[str, ModelCard], store: Path) -> None:
    registry = ModelRegistry(served, Settings(model_store=store, models=("tiny-classifier",)))
    with pytest.raises(ModelNotFound) as raised:
        registry.choose("detection", names or [registry.default("detection").name])

    assert raised.value.detail.startswith("No model for detection is served. ")
    assert raised.value.members["available"] == []


def test_a_model_to_serve_that_is_not_in_the_store_is_a_card_error(served: dict[str, ModelCard]) -> None:
    with pytest.raises(CardError, match="nobody"):
        ModelRegistry(served, Settings(models=("nobody",)))


def test_a_store_without_models_is_a_card_error() -> None:
    with pytest.raises(CardError, match="has no models"):
        ModelRegistry({}, Settings())


def test_a_published_model_that_was_never_pulled_is_not_served_unless_it_is_named(
    served: dict[str, ModelCard],
) -> None:
    weights = served["tiny-classifier"].weights.model_copy(update={"sha256": None})
    changed = {**served, "tiny-classifier": served["tiny-classifier"].model_copy(update={"weights": weights})}

    assert list(ModelRegistry(changed, Settings()).cards) == ["tiny-classifier-b", "tiny-detector", "tiny-segmenter"]
    assert list(ModelRegistry(changed, Settings(models=("tiny-classifier",))).cards) == ["tiny-classifier"]


def test_a_default_model_answers_its_task_where_none_is_named(served: dict[str, ModelCard]) -> None:
    registry = ModelRegistry(served, Settings(default_models=("tiny-classifier-b", "tiny-segmenter")))

    assert registry.default("classification").name == "tiny-classifier-b"
    assert set(registry.cards) == set(served)


def test_without_a_setting_the_model_that_was_added_first_is_the_default(
    served: dict[str, ModelCard], tmp_path: Path
) -> None:
    (tmp_path / model_order.FILE).write_text('classification = ["tiny-classifier-b"]\n', encoding="utf-8")
    settings = Settings(model_store=tmp_path)

    assert ModelRegistry(served, settings).default("classification").name == "tiny-classifier-b"
    named = Settings(model_store=tmp_path, models=("tiny-classifier", "tiny-classifier-b"))
    assert ModelRegistry(served, named).default("classification").name == "tiny-classifier"


def test_a_default_model_that_is_not_served_is_a_card_error(served: dict[str, ModelCard]) -> None:
    with pytest.raises(CardError, match=r"default models that are not served: tiny-classifier-b$"):
        ModelRegistry(served, Settings(models=("tiny-classifier",), default_models=("tiny-classifier-b",)))


def test_a_version_is_chosen_by_its_number_beside_the_highest(served: dict[str, ModelCard]) -> None:
    second = served["tiny-classifier"].model_copy(update={"version": "2.0"})
    first = served["tiny-classifier"].model_copy(update={"name": "tiny-classifier@1.0"})
    registry = ModelRegistry({"tiny-classifier": second, "tiny-classifier@1.0": first}, Settings())

    assert registry.choose("classification", ["tiny-classifier"]) == [second]
    assert registry.choose("classification", ["tiny-classifier@2.0", "tiny-classifier@1.0"]) == [second, first]
    assert registry.choose("classification", ["tiny-classifier@2.0", "tiny-classifier"]) == [second]
    assert registry.card("tiny-classifier@2.0") == second
    with pytest.raises(ModelNotFound):
        registry.choose("classification", ["tiny-classifier@3.0"])


def test_a_wordnet_id_is_told_where_there_is_one_and_absent_where_not() -> None:
    assert label_row(Label(class_id=3, label="tench", wnid="n01440764")) == {
        "label": "tench",
        "class_id": 3,
        "wnid": "n01440764",
    }
    assert label_row(Label(class_id=3, label="tench")) == {"label": "tench", "class_id": 3}


def test_a_network_of_a_library_is_chosen_for_its_answers_alone(served: dict[str, ModelCard], store: Path) -> None:
    card = served["tiny-classifier"]
    timm_card = card.model_copy(update={"network": card.network.model_copy(update={"library": "timm"})})
    registry = ModelRegistry({**served, "tiny-classifier": timm_card}, Settings(model_store=store))

    assert registry.default("classification") == timm_card
    assert registry.default("classification", "embed") == served["tiny-classifier-b"]
    with pytest.raises(ModelNotFound) as raised:
        registry.choose("classification", ["tiny-classifier"], "explain")
    assert raised.value.members["available"] == ["tiny-classifier-b"]
    assert raised.value.detail == "tiny-classifier does not have the operation explain."


def test_a_task_whose_models_lack_the_operation_is_told_which_one(served: dict[str, ModelCard]) -> None:
    card = served["tiny-classifier"]
    timm_card = card.model_copy(update={"network": card.network.model_copy(update={"library": "timm"})})

    with pytest.raises(ModelNotFound, match="No model for classification with the operation explain is served"):
        ModelRegistry({card.name: timm_card}, Settings()).default("classification", "explain")
