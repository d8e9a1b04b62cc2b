"""Reloads that are refused before any process is started. tests/e2e/test_reload.py has the others."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from service.host.run_options import RunOptions
from service.host.served_models import default_models, memory, packaging
from service.host.served_models.reload import Reload, ReloadError, ReloadRequest, Tree
from service.host.served_models.roster import Acknowledgement
from service.host.served_models.selection import select
from service.host.served_models.served import ServedModels
from service.models import model_order
from service.models.cards import ModelCard
from tests.stores import write_store

Ask = Callable[..., list[str]]


class Gateways:
    """One gateway process that acknowledges each list of models at once, unless a test makes it late or gone."""

    def __init__(self, served: ServedModels) -> None:
        self._roster = served.roster
        self.late = self.gone = False
        self.starts = 1  # of the model server

    def pids(self) -> list[int]:
        if not self.late:
            self._roster.acknowledge(Acknowledgement(generation=self._roster.written.generation, pending=""))
        return [] if self.gone else [os.getpid()]

    @property
    def tree(self) -> Tree:
        return Tree(self.pids, lambda: self.starts, lambda: "")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", "tiny-classifier")


@pytest.fixture
def served(store: Path, tmp_path: Path) -> ServedModels:
    """The classifier, as a start packages it. Nothing listens at the address of its model server."""
    (tmp_path / "archives").mkdir()
    packaged = packaging.package_all(select(store, ()).cards, tmp_path / "archives", print, strict=True)
    found = ServedModels(packaged, tmp_path, "http://127.0.0.1:1")
    found.roster.write(found.listed)
    return found


@pytest.fixture
def ask(served: ServedModels, store: Path) -> Ask:
    """Return a function that reloads, and returns what was said."""

    def reload(options: RunOptions | None = None, **request: object) -> list[str]:
        said: list[str] = []
        asked = ReloadRequest(**request)  # type: ignore[arg-type]
        for _ in Reload(asked, served, Gateways(served).tree, options or RunOptions(store), said.append).steps():
            pass
        return said

    return reload


def is_as_before(served: ServedModels) -> bool:
    """Return whether the one model is served, and nothing else is left."""
    archives = [path.name for path in served.archives.iterdir() if not path.name.startswith(".")]
    return served.server_names() == archives == ["tiny-classifier"] and served.roster.written.reload_failed


def test_without_a_change_nothing_is_started(ask: Ask, served: ServedModels) -> None:
    (line,) = ask()
    assert line.endswith("0 added, 0 replaced, 0 removed")
    assert not served.roster.written.reload_failed


def test_a_model_server_that_starts_again_as_the_last_gateway_acknowledges_takes_the_reload_back(
    served: ServedModels, store: Path
) -> None:
    """It starts with the old models, so the gateways must not serve the new list."""
    gateways = Gateways(served)
    gateways.late = True
    steps = Reload(ReloadRequest(), served, gateways.tree, RunOptions(store), print).steps()
    next(steps)
    gateways.late, gateways.starts = False, 2

    with pytest.raises(ReloadError, match="the model server was started again meanwhile"):
        list(steps)
    assert is_as_before(served)


def test_a_reload_waits_for_a_gateway_while_all_are_between_two_starts(served: ServedModels, store: Path) -> None:
    gateways = Gateways(served)
    gateways.gone = True
    steps = Reload(ReloadRequest(), served, gateways.tree, RunOptions(store), print).steps()
    for _ in range(5):
        next(steps)
    gateways.gone = False

    list(steps)
    assert not served.roster.written.reload_failed


def test_a_model_with_one_wrong_byte_is_refused(ask: Ask, served: ServedModels, store: Path) -> None:
    write_store(store, "tiny-classifier-b")
    weights = store / "tiny-classifier-b" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    with pytest.raises(ReloadError, match=r"tiny-classifier-b: .* has the SHA-256"):
        ask()
    assert is_as_before(served)


def test_a_model_that_a_start_left_out_does_not_stop_the_others(ask: Ask, served: ServedModels, store: Path) -> None:
    write_store(store, "tiny-classifier-b", weights=False)
    (store / "tiny-classifier-b" / "weights.safetensors").write_bytes(b"bad")
    served.refused = [card for card in select(store, ()).cards if card.name == "tiny-classifier-b"]

    said = ask()
    assert said[0].startswith("Leaving out a model, as before: tiny-classifier-b: ")
    assert [card.name for card in served.refused] == ["tiny-classifier-b"]
    with pytest.raises(ReloadError, match="has the SHA-256"):
        ask(RunOptions(store, strict=True))


def test_a_card_that_became_unreadable_is_refused_and_one_that_was_is_left_out(
    ask: Ask, served: ServedModels, store: Path
) -> None:
    (store / "bad").mkdir()
    (store / "bad" / "card.toml").write_text("name =", encoding="utf-8")
    with pytest.raises(ReloadError, match=r"bad/card\.toml cannot be read"):
        ask()
    assert is_as_before(served)
    served.unreadable = frozenset({"bad"})
    assert "Leaving out an unreadable card" in ask()[0]


def test_too_little_memory_is_told_in_numbers(
    ask: Ask, served: ServedModels, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_store(store, "tiny-classifier-b")
    monkeypatch.setattr(memory, "LEADER_BYTES", 1 << 60)
    with pytest.raises(ReloadError, match=r"not enough memory to add tiny-classifier-b 1\.0: \d+ MiB needed"):
        ask()
    assert is_as_before(served)
    with pytest.raises(ReloadError, match="the model server does not register it: it does not answer"):
        ask(ignore_memory=True)
    assert is_as_before(served)


def test_what_the_options_of_the_run_name_must_stay(
    ask: Ask, served: ServedModels, store: Path, tmp_path: Path
) -> None:
    write_store(store, "tiny-classifier-b")
    shutil.rmtree(store / "tiny-classifier")
    options = RunOptions(store, default_models=("tiny-classifier",))
    with pytest.raises(ReloadError, match=r"default models .* would not be served: tiny-classifier$"):
        ask(options)
    file = tmp_path / "traffic.toml"
    file.write_text('[tiny-classifier]\nweights = { "1.0" = 1 }\n', encoding="utf-8")
    with pytest.raises(ReloadError, match="tiny-classifier: no model of that name is served"):
        ask(replace(options, default_models=(), traffic_file=file))
    assert is_as_before(served)


class RegisteredServer:
    """A model server that has every registered model ready at once."""

    def register(self, _card: ModelCard) -> None:
        """Do nothing."""

    def unregister(self, _card: ModelCard) -> None:
        """Do nothing."""

    def unready(self, _cards: list[ModelCard]) -> list[str]:
        return []


def add(store: Path, name: str) -> None:
    """Copy the classifier as another model."""
    shutil.copytree(store / "tiny-classifier", store / name)
    card = store / name / "card.toml"
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace('name = "tiny-classifier"', f'name = "{name}"'), encoding="utf-8")


def default(served: ServedModels) -> str:
    return default_models.defaults(served.shown)["classify"]


@pytest.fixture
def registering(served: ServedModels) -> ServedModels:
    served.server = RegisteredServer()  # type: ignore[assignment]
    return served


def test_a_new_model_whose_name_sorts_first_is_not_the_default(
    ask: Ask, registering: ServedModels, store: Path
) -> None:
    model_order.record(store)  # as `run` does
    add(store, "aardvark")

    said = ask()

    assert default(registering) == "tiny-classifier"
    assert [entry.name for entry in registering.roster.written.served] == ["tiny-classifier", "aardvark"]
    assert not any("default of" in line for line in said)
    assert [card.name for card in select(store, ()).cards] == ["tiny-classifier", "aardvark"]  # as the next start does


def test_the_removal_of_the_default_is_reported_and_logged(
    ask: Ask, registering: ServedModels, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model_order.record(store)
    add(store, "aardvark")
    add(store, "zebra")
    ask()
    shutil.rmtree(store / "tiny-classifier")

    said = ask()

    line = "default of classify, embed, explain: tiny-classifier -> aardvark"
    assert line in said
    assert line in caplog.messages
    assert default(registering) == "aardvark"


def test_a_setting_changes_the_default_and_that_is_reported(ask: Ask, registering: ServedModels, store: Path) -> None:
    model_order.record(store)
    add(store, "aardvark")

    assert "default of classify, embed, explain: tiny-classifier -> aardvark" in ask(
        models=("aardvark", "tiny-classifier")
    )
    assert "default of classify, embed, explain: aardvark -> tiny-classifier" in ask()


def test_a_default_that_can_only_come_from_the_names_is_reported(
    ask: Ask, registering: ServedModels, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a store that cannot be written there is no order of addition, so that the first by name is the default."""
    monkeypatch.setattr(model_order, "record", lambda _store: [])
    add(store, "aardvark")

    assert "default of classify, embed, explain: tiny-classifier -> aardvark" in ask()
    assert default(registering) == "aardvark"


def test_an_unknown_name_is_told(ask: Ask, served: ServedModels) -> None:
    with pytest.raises(ReloadError, match="no model is named dog"):
        ask(models=("dog",))
    assert is_as_before(served)


def test_a_full_disk_changes_nothing(
    ask: Ask, served: ServedModels, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_store(store, "tiny-classifier-b")

    def link(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.link", link)
    monkeypatch.setattr("shutil.copyfile", link)
    with pytest.raises(ReloadError, match="cannot be written: No space left on device"):
        ask()
    assert is_as_before(served)
