"""The file of a domain score: fitted to the features of known images and of other things, and put beside a card."""
# ruff: noqa: PLC0415 - torch is loaded only when there is something to fit

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click
import numpy as np
import numpy.typing as npt

from service.cli.accuracy import card_file
from service.cli.train import split
from service.models.calibration import Calibration, Domain
from service.models.cards import ModelCard

if TYPE_CHECKING:
    from service.tasks.classification.domain_head import DomainHead

FOLDS: Final = 5  # of the cross-validation that chooses the penalty
LEAST: Final = 20  # images of other things

Features = npt.NDArray[np.float32]


def suffice(others: int, least: int = LEAST) -> bool:
    """Return whether so many images of other things are enough for a domain score. Say so if they are too few."""
    if others < least:
        click.echo(
            f"{others} images of other things are too few for a domain score; they only measure (it needs {least})",
            err=True,
        )
    return others >= least


@dataclass(frozen=True)
class FittedDomain:
    """A domain head, and the scores of the known images (n,), each by a head that was fitted without it."""

    head: "DomainHead"
    left_out: npt.NDArray[np.float64]


def fit(known: Features, others: Features, seed: int = 0) -> FittedDomain:
    """Return the domain head for the features of known images `(n, d)` and of other things `(m, d)`.

    It is a logistic regression with an L2 penalty, in which both kinds have the same weight.
    """
    from service.engines.training import linear_head
    from service.tasks.classification.domain_head import DomainHead

    is_known = np.repeat([0, 1], [len(others), len(known)])
    folds = split.deal(is_known, np.arange(len(is_known)), FOLDS, seed)
    found = linear_head.fit(np.concatenate([others, known]), is_known, folds)
    logits = found.left_out[len(others) :].numpy()
    return FittedDomain(DomainHead(found.weight, found.bias), logits[:, 1] - logits[:, 0])


def described(head: "DomainHead", min_score: float) -> tuple[Domain, bytes]:
    """Return the table of a domain head for the card, and the content of its file."""
    content = head.file()
    digest = hashlib.sha256(content).hexdigest()
    return Domain(file=f"domain-{digest[:8]}.safetensors", sha256=digest, min_score=min_score), content


@contextlib.contextmanager
def candidate(card: ModelCard, head: "DomainHead | None") -> Iterator[ModelCard]:
    """Yield the card with a neutral calibration: a temperature of 1, and a least score or least logit of 0.

    With a head, its file is beside the card, in place of that of the card's former calibration. Without one, the former
    file goes. If an exception is raised, the files are as before.
    """
    former = card.calibration.domain.file if card.calibration and card.calibration.domain else None
    if head is None:
        with card_file.replaced(card.folder, former):
            yield neutral(card)
        return
    domain, content = described(head, 0.0)
    with card_file.replaced(card.folder, former, domain.file, content):
        yield card.model_copy(update={"calibration": Calibration(domain=domain, made_of=str(card.checksum))})


def neutral(card: ModelCard) -> ModelCard:
    """Return the card with a calibration that changes no score, so that the largest logits are returned."""
    calibration = Calibration(temperature=1.0, min_logit=0.0, made_of=str(card.checksum))
    return card.model_copy(update={"calibration": calibration})
