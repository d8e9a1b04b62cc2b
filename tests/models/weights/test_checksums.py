"""Verification of a weight file against its checksum."""

import hashlib
from pathlib import Path

import pytest

from service.models import cards
from service.models.weights import checksums
from service.models.weights.checksums import WeightsError
from tests.stores import add_domain, write_store


def test_the_bytes_of_a_file_that_fits_are_returned(tmp_path: Path) -> None:
    card = cards.read(write_store(tmp_path, "tiny-classifier") / "tiny-classifier")

    assert hashlib.sha256(checksums.read_verified(card)).hexdigest() == card.checksum


def test_a_changed_file_is_refused_with_both_checksums(tmp_path: Path) -> None:
    card = cards.read(write_store(tmp_path, "tiny-classifier") / "tiny-classifier")
    card.weights_path.write_bytes(b"other")

    with pytest.raises(WeightsError, match=str(card.checksum)):
        checksums.verify(card)


def test_a_domain_score_whose_file_is_missing_or_changed_is_refused_with_the_way_out(tmp_path: Path) -> None:
    folder = write_store(tmp_path, "tiny-classifier") / "tiny-classifier"
    with pytest.raises(WeightsError, match="has no domain score"):
        checksums.read_domain(cards.read(folder))
    add_domain(folder)
    card, file = cards.read(folder), folder / "domain-1.safetensors"
    assert checksums.read_domain(card) == file.read_bytes()

    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(WeightsError, match="repeat `resnest-service calibrate tiny-classifier`"):
        checksums.verify(card)
    file.unlink()
    with pytest.raises(WeightsError, match=r"domain-1\.safetensors of its calibration: No such file"):
        checksums.verify(card)
