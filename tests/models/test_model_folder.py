"""A model's folder appears in the store whole, in place of the one before, or not at all."""

from pathlib import Path

import pytest

from service.models import model_folder


def test_a_folder_that_was_not_moved_is_deleted(tmp_path: Path) -> None:
    with model_folder.building(tmp_path) as building:
        (building / "card.toml").touch()
        assert building.name.startswith(".")

    assert not list(tmp_path.iterdir())


def test_a_built_folder_replaces_the_one_before(tmp_path: Path) -> None:
    for content in ("first", "second"):
        with model_folder.building(tmp_path) as building:
            (building / content).touch()
            model_folder.install(building, tmp_path / "mine")

    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["second"]


def test_the_one_before_is_restored_where_the_new_one_cannot_be_moved(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "card.toml").touch()

    with pytest.raises(FileNotFoundError):
        model_folder.install(tmp_path / "missing", tmp_path / "mine")

    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["card.toml"]


@pytest.mark.parametrize(("name", "good"), [("mine", True), ("labels", False), ("Mine", False), ("a/b", False)])
def test_names_of_models_are_lower_case_and_no_folder_of_the_store(name: str, *, good: bool) -> None:
    assert model_folder.is_name(name) is good
