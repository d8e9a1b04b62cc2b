"""A domain head is fitted to features, and its file is kept only if the calibration is."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from service.cli.accuracy import domain_file
from service.cli.accuracy.domain_file import Features
from service.models import cards
from service.models.weights import checksums
from service.tasks.classification.domain_head import DomainHead
from tests.stores import add_domain, write_store


def clouds(seed: int, known: int = 80, others: int = 40) -> tuple[Features, Features]:
    """Return features of known images around one point, and of other things around another."""
    random = np.random.default_rng(seed)
    around = [random.normal(mean, 1, (count, 12)).astype(np.float32) for mean, count in ((1, known), (-1, others))]
    return around[0], around[1]


def test_the_score_tells_the_kinds_apart_however_many_there_are_of_each() -> None:
    head = domain_file.fit(*clouds(1)).head
    known, others = clouds(2, 500, 500)

    right = [(head.score(torch.from_numpy(known)) > 0), (head.score(torch.from_numpy(others)) < 0)]

    assert all(float(each.float().mean()) > 0.97 for each in right)


def test_the_scores_left_out_are_those_of_heads_that_did_not_see_the_image() -> None:
    """Without any difference between the kinds, only a head that has seen an image could tell its kind."""
    known, others = (np.random.default_rng(seed).normal(size=(60, 300)).astype(np.float32) for seed in (3, 4))
    fitted = domain_file.fit(known, others)

    assert len(fitted.left_out) == 60
    assert abs(float((fitted.left_out > 0).mean()) - 0.5) < 0.25


def test_a_candidate_has_its_file_and_keeps_it_only_without_an_exception(tmp_path: Path) -> None:
    folder = write_store(tmp_path, "tiny-classifier", weights=False) / "tiny-classifier"
    card, head = cards.read(folder), DomainHead(torch.zeros(2, 4), torch.zeros(2))

    def interrupted() -> None:
        with domain_file.candidate(card, head) as candidate:
            assert checksums.read_domain(candidate) == head.file()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(folder.glob("domain-*")) == []

    with domain_file.candidate(card, head):
        pass
    (file,) = folder.glob("domain-*")
    assert hashlib.sha256(file.read_bytes()).hexdigest()[:8] in file.name


@pytest.mark.parametrize("head", [None, DomainHead(torch.zeros(2, 4), torch.zeros(2))], ids=["without", "with a head"])
def test_the_file_of_the_former_calibration_goes_with_a_new_one(tmp_path: Path, head: DomainHead | None) -> None:
    folder = write_store(tmp_path, "tiny-classifier", weights=False) / "tiny-classifier"
    add_domain(folder)
    card = cards.read(folder)
    (former,) = folder.glob("domain-*")

    with pytest.raises(KeyboardInterrupt), domain_file.candidate(card, head):
        raise KeyboardInterrupt
    assert list(folder.glob("domain-*")) == [former]

    with domain_file.candidate(card, head) as candidate:
        assert candidate.calibration
        assert (candidate.calibration.domain is None) is (head is None)
    assert not former.exists()
    assert len(list(folder.glob("domain-*"))) == (head is not None)
