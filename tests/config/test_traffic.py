"""Traffic splits: the file and its mistakes, and the choice of a version."""

from collections import Counter
from pathlib import Path

import pytest

from service.config.traffic import Shadow, Split, TrafficError, by_version, choose, parse, read
from service.models import zoo
from service.models.cards import ModelCard
from tests.stores import write_store

CALLERS = [f"caller-{number}" for number in range(4_000)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> list[ModelCard]:
    """Three versions of a classifier, and a segmenter."""
    store = write_store(tmp_path_factory.mktemp("store"), "tiny-classifier", "tiny-segmenter", weights=False)
    classifier, segmenter = zoo.read_all(store).values()
    older = [
        classifier.model_copy(update={"name": f"tiny-classifier@{number}", "version": number})
        for number in ("1.9", "1.2")
    ]
    return [*older, classifier.model_copy(update={"version": "1.10"}), segmenter]


def test_a_file_names_weights_whether_they_are_sticky_and_a_shadow(served: list[ModelCard]) -> None:
    text = """
    [tiny-classifier]
    weights = { "1.10" = 5, "1.9" = 95 }
    sticky = "none"
    shadow = { version = "1.2", share = 0.1 }
    """

    assert parse(text, served) == {
        "tiny-classifier": Split(weights={"1.10": 5, "1.9": 95}, sticky="none", shadow=Shadow(version="1.2", share=0.1))
    }
    assert parse("", served) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tiny-classifier", "end of document"),
        ('[tiny-classifier]\nweights = { "1.9" = 5, "7" = 1 }', "tiny-classifier: .*: 7; there are 1.2, 1.9, 1.10"),
        ('[unknown]\nweights = { "1.9" = 5 }', "unknown: no model of that name"),
        ('[tiny-classifier]\nweights = { "1.9" = 0 }', "all 0"),
        ('[tiny-classifier]\nweights = { "1.9" = -1 }', "1.9: .*greater than or equal to 0"),
        ('[tiny-classifier]\nweights = { "1.9" = nan }', "1.9: .*finite"),
        ('[tiny-classifier]\nweights = { "new" = 1 }', "new"),
        ('[tiny-classifier]\nweight = { "1.9" = 1 }', "tiny-classifier.weight: Extra inputs"),
        ('[tiny-classifier]\nsticky = "cookie"', "sticky: .*'caller' or 'none'"),
        ('[tiny-classifier]\nshadow = { version = "1.9", share = 1.5 }', "share: .*less than or equal to 1"),
        ('[tiny-classifier]\nshadow = { version = "3", share = 0.5 }', "versions that are not served: 3"),
        ("tiny-classifier = 3", "tiny-classifier: "),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, message: str, served: list[ModelCard]) -> None:
    with pytest.raises(TrafficError, match=message):
        parse(text, served)


def test_versions_of_several_tasks_cannot_answer_for_each_other(served: list[ModelCard]) -> None:
    stranger = served[-1].model_copy(update={"name": "tiny-classifier@2", "version": "2"})

    with pytest.raises(TrafficError, match="several tasks"):
        parse('[tiny-classifier]\nweights = { "2" = 1, "1.9" = 1 }', [*served, stranger])


@pytest.mark.parametrize("content", [None, b"\xff", b"["])
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path, served: list[ModelCard]) -> None:
    file = tmp_path / "traffic.toml"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(TrafficError, match=str(file)):
        read(file, served)


def test_versions_are_ordered_by_their_numbers(served: list[ModelCard]) -> None:
    assert list(by_version(served)["tiny-classifier"]) == ["1.2", "1.9", "1.10"]


def test_callers_are_spread_by_the_weights() -> None:
    weights = {"1": 90.0, "2": 10.0, "3": 0.0}

    found = Counter(choose(weights, "model", caller) for caller in CALLERS)

    assert set(found) == {"1", "2"}
    assert found["2"] / len(CALLERS) == pytest.approx(0.1, abs=0.02)  # four deviations


def test_a_caller_always_sees_one_version_however_the_file_is_written() -> None:
    for caller in CALLERS[:50]:
        assert choose({"1": 50.0, "2": 50.0}, "model", caller) == choose({"2": 1.0, "1": 1.0}, "model", caller)


def test_only_those_move_that_a_change_of_weights_has_to_move() -> None:
    before = {caller: choose({"1": 90.0, "2": 10.0}, "model", caller) for caller in CALLERS}
    after = {caller: choose({"1": 75.0, "2": 25.0}, "model", caller) for caller in CALLERS}

    moved = [caller for caller in CALLERS if before[caller] != after[caller]]

    assert {after[caller] for caller in moved} == {"2"}
    assert len(moved) / len(CALLERS) == pytest.approx(0.15, abs=0.025)


def test_who_tries_one_models_new_version_is_not_the_same_for_every_model() -> None:
    weights = {"1": 50.0, "2": 50.0}
    alike = [choose(weights, "a", caller) == choose(weights, "b", caller) for caller in CALLERS]

    assert 0.4 < sum(alike) / len(CALLERS) < 0.6


def test_a_caller_may_have_any_name() -> None:
    assert choose({"1": 1.0}, "model", "\udcff\0ü") == "1"


def test_the_highest_version_takes_the_place_of_the_first_of_its_name(tmp_path: Path) -> None:
    store = write_store(tmp_path, "tiny-classifier", "tiny-classifier-b", weights=False)
    newer = store / "zzz"
    newer.mkdir()
    for file in (store / "tiny-classifier").iterdir():
        text = file.read_text(encoding="utf-8").replace('version = "1.0"', 'version = "1.10"')
        newer.joinpath(file.name).write_text(text, encoding="utf-8")

    found = zoo.read_all(store)

    assert list(found) == ["tiny-classifier", "tiny-classifier@1.0", "tiny-classifier-b"]
    assert found["tiny-classifier"].version == "1.10"
    assert {card.family for card in found.values()} == {"tiny-classifier", "tiny-classifier-b"}
