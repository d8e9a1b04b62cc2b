"""The list of the served models, and what the gateway processes acknowledge."""

import os
from pathlib import Path

import pytest

from service.host.served_models.roster import VARIABLE, Acknowledgement, RosterFile
from service.models import cards
from service.models.cards import CardError, ModelCard
from tests.stores import write_store


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return cards.read(write_store(tmp_path / "store", "tiny-classifier", weights=False) / "tiny-classifier")


@pytest.fixture
def file(tmp_path: Path) -> RosterFile:
    return RosterFile(tmp_path / "roster.json")


def test_a_gateway_reads_the_cards_under_the_names_of_the_supervisor(file: RosterFile, card: ModelCard) -> None:
    named = card.model_copy(update={"name": "tiny-classifier@1.0", "registered_as": "tiny-classifier@1.0.7"})
    file.write([named])

    reader = RosterFile.from_environment({VARIABLE: str(file.path)})
    assert reader is not None
    (entry,) = reader.read().served
    found = entry.read()
    assert (found.name, found.server_name) == ("tiny-classifier@1.0", "tiny-classifier@1.0.7")
    assert found.classes == card.classes


def test_a_process_that_was_given_no_list_has_none() -> None:
    assert RosterFile.from_environment({}) is None


def test_a_reader_sees_each_new_list_once(file: RosterFile, card: ModelCard) -> None:
    file.write([card])
    reader = RosterFile(file.path)
    assert reader.changed()
    assert reader.read().generation == 1
    assert not reader.changed()
    file.write([card], [card], reload_failed=True)
    assert reader.changed()
    found = reader.read()
    assert (found.generation, len(found.preparing), found.reload_failed) == (2, 1, True)


def test_a_list_that_is_gone_has_not_changed(file: RosterFile) -> None:
    assert not file.changed()
    with pytest.raises(CardError, match="the list of the served models, cannot be read"):
        file.read()


def test_the_supervisor_waits_for_every_process(file: RosterFile, card: ModelCard) -> None:
    file.write([card])
    own = os.getpid()
    assert file.pending([]) == ""
    assert "has not started" in file.pending([own])
    file.acknowledge(Acknowledgement(generation=0, pending=""))
    assert "has not read" in file.pending([own])
    file.acknowledge(Acknowledgement(generation=1, pending="requests still use x"))
    assert file.pending([own]) == "requests still use x"
    file.acknowledge(Acknowledgement(generation=1, pending=""))
    assert file.pending([own]) == ""
