"""Default models by endpoint, and the lines about their changes."""

from pathlib import Path

import pytest

from service.host.served_models import default_models
from service.models import zoo
from service.models.cards import ModelCard
from tests.stores import write_store


@pytest.fixture
def cards(tmp_path: Path) -> list[ModelCard]:
    return list(zoo.read_all(write_store(tmp_path / "store", weights=False)).values())


def test_the_first_card_that_can_answer_an_endpoint_is_its_default(cards: list[ModelCard]) -> None:
    first = cards[0]
    of_a_library = first.model_copy(update={"network": first.network.model_copy(update={"library": "timm"})})

    found = default_models.defaults([of_a_library, *cards[1:]])

    assert (found["classify"], found["embed"]) == ("tiny-classifier", "tiny-classifier-b")
    assert (found["segment"], found["detect"]) == ("tiny-segmenter", "tiny-detector")


def test_models_that_a_setting_names_are_before_all_others(cards: list[ModelCard]) -> None:
    found = default_models.in_front(cards, ("tiny-classifier-b", "not-there"))

    assert [card.name for card in found][:2] == ["tiny-classifier-b", "tiny-classifier"]
    assert len(found) == len(cards)
    assert default_models.defaults(found)["explain"] == "tiny-classifier-b"


def test_another_version_of_the_same_model_is_no_other_default(cards: list[ModelCard]) -> None:
    older = cards[0].model_copy(update={"name": "tiny-classifier@1.0"})
    newer = cards[0].model_copy(update={"version": "2.0"})

    assert default_models.defaults([newer, older]) == default_models.defaults(cards[:1])


def test_endpoints_with_the_same_change_share_a_line(cards: list[ModelCard]) -> None:
    first, second, detector, segmenter = cards

    assert default_models.changes([first, second, detector], [second, first, segmenter]) == [
        "default of classify, embed, explain: tiny-classifier -> tiny-classifier-b",
        "default of detect: tiny-detector -> none",
        "default of segment: none -> tiny-segmenter",
    ]
    assert default_models.changes(cards, cards) == []


def test_an_order_that_a_setting_overrides_changes_no_default(cards: list[ModelCard]) -> None:
    first, second, *_ = cards

    assert default_models.changes([first, second], [second, first], ["tiny-classifier"]) == []


def test_a_default_of_one_endpoint_alone_is_reported(cards: list[ModelCard]) -> None:
    first, second, *_ = cards
    of_a_library = first.model_copy(update={"network": first.network.model_copy(update={"library": "timm"})})

    assert default_models.changes([first, second], [of_a_library, second]) == [
        "default of embed, explain: tiny-classifier -> tiny-classifier-b"
    ]
