"""The store of those who name none."""

from pathlib import Path

import pytest

from service.models.default_store import INSTALLED, NAME, default_store, is_installed


def test_the_store_of_the_working_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (tmp_path / NAME, tmp_path / "packages" / NAME):
        folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    assert default_store(tmp_path / "packages") == Path(NAME)


def test_elsewhere_it_is_the_store_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert default_store() == Path(__file__).parents[2] / NAME


def test_without_a_checkout_it_is_the_installed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.joinpath("packages", INSTALLED).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    found = default_store(tmp_path / "packages")

    assert found == tmp_path / "packages" / INSTALLED
    assert is_installed(found)
    assert not is_installed(Path(NAME))


def test_without_any_the_message_can_name_the_usual_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert default_store(tmp_path / "packages") == Path(NAME)
