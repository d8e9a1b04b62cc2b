"""Verification of a weight file against its checksum."""

import hashlib
from pathlib import Path

import pytest

from service.models import cards
from service.models.weights import checksums
from service.models.weights.checksums import WeightsError
from tests.stores import write_store


def test_the_bytes_of_a_file_that_fits_are_returned(tmp_path: Path) -> None:
    card = cards.read(write_store(tmp_path, "tiny-classifier") / "tiny-classifier")

    assert hashlib.sha256(checksums.read_verified(card)).hexdigest() == card.checksum


def test_a_changed_file_is_refused_with_both_checksums(tmp_path: Path) -> None:
    card = cards.read(write_store(tmp_path, "tiny-classifier") / "tiny-classifier")
    card.weights_path.write_bytes(b"other")

    with pytest.raises(WeightsError, match=str(card.checksum)):
        checksums.verify(card)
