"""A model's folder appears in the store whole, in place of the one before, or not at all."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from service.models import model_folder

KILLED = """
import os, signal, sys
from pathlib import Path
from service.models import model_folder

store = Path(sys.argv[1])
with model_folder.building(store) as building:
    (building / "second").touch()
    if sys.argv[2] == "installed":
        model_folder.install(building, store / "mine")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_while_it(what: str, store: Path) -> None:
    """Run a process that is killed after it has built a model, or has moved it to the place of `mine`."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(store), what], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


def age(store: Path) -> None:
    old = time.time() - 2 * model_folder.FRESH_S
    for folder in store.glob(f"{model_folder.BUILDING}*"):
        os.utime(folder, (old, old))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store with a model `mine`, whose folder has the file `first`."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "first").touch()
    return tmp_path


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


def test_a_model_that_is_replaced_is_there_at_all_times(store: Path) -> None:
    missed, ended = 0, threading.Event()

    def read() -> None:
        nonlocal missed
        while not ended.is_set():
            missed += not (store / "mine").exists()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(200):
            with model_folder.building(store) as building:
                model_folder.install(building, store / "mine")
    finally:
        ended.set()
        reader.join()

    assert missed == 0


@pytest.mark.parametrize(("what", "left"), [("built", "first"), ("installed", "second")])
def test_what_a_killed_process_has_left_is_deleted_by_the_next_one(what: str, left: str, store: Path) -> None:
    kill_while_it(what, store)
    assert names(store / "mine") == [left]
    assert len(names(store)) == 2

    model_folder.recover(store)
    assert len(names(store)) == 2, "it is too young to know that its process has ended"
    age(store)
    model_folder.recover(store)

    assert names(store) == ["mine"]
    assert names(store / "mine") == [left]


def test_the_folder_of_a_process_that_still_builds_is_not_deleted(store: Path) -> None:
    with model_folder.building(store) as building:
        age(store)
        model_folder.recover(store)

        assert building.exists()


def test_a_model_that_was_about_to_be_replaced_without_an_exchange_is_restored(store: Path) -> None:
    (store / "mine").rename(store / ".mine.replaced")

    model_folder.recover(store)

    assert names(store) == ["mine"]
    assert names(store / "mine") == ["first"]


def test_what_is_left_of_a_model_that_was_replaced_is_deleted(store: Path) -> None:
    (store / ".mine.replaced").mkdir()

    model_folder.recover(store)

    assert names(store) == ["mine"]


def test_a_file_system_without_exchange_replaces_in_two_steps(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_folder, "_exchange", lambda _one, _other: False)

    with model_folder.building(store) as building:
        (building / "second").touch()
        model_folder.install(building, store / "mine")

    assert names(store) == ["mine"]
    assert names(store / "mine") == ["second"]
    with pytest.raises(FileNotFoundError):
        model_folder.install(store / "missing", store / "mine")
    assert names(store / "mine") == ["second"]


@pytest.mark.parametrize(("name", "good"), [("mine", True), ("labels", False), ("Mine", False), ("a/b", False)])
def test_names_of_models_are_lower_case_and_no_folder_of_the_store(name: str, *, good: bool) -> None:
    assert model_folder.is_name(name) is good
