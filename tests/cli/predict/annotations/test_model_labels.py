"""The labels of the model that answered."""

from pathlib import Path

from service.cli.predict.annotations import model_labels


def test_the_labels_are_those_of_the_card_of_that_name_and_version(store: Path) -> None:
    found = model_labels.of_store(store, {"name": "tiny-detector", "version": "1.0"})

    assert [(row["class_id"], row["label"]) for row in found] == [(0, "cat"), (1, "dog")]


def test_another_version_has_no_labels_here(store: Path, tmp_path: Path) -> None:
    assert model_labels.of_store(store, {"name": "tiny-detector", "version": "2.0"}) == ()
    assert model_labels.of_store(tmp_path / "none", {"name": "tiny-detector", "version": "1.0"}) == ()
