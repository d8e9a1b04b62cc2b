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
def candidate(card: ModelCard, head: "DomainHead") -> Iterator[ModelCard]:
    """Write the file beside the card and yield the card that uses it, with a temperature of 1 and a least score of 0.

    Delete the file again if an exception is raised, unless it was there before.
    """
    domain, content = described(head, 0.0)
    path = card.folder / domain.file
    is_new = not path.exists()
    path.write_bytes(content)
    try:
        calibration = Calibration(domain=domain, made_of=str(card.checksum))
        yield card.model_copy(update={"calibration": calibration})
    except BaseException:
        if is_new:
            path.unlink()
        raise


def remove_former(card: ModelCard, calibration: Calibration | None) -> None:
    """Delete the file of the card's former calibration, unless the new one has the same."""
    former = card.calibration.domain if card.calibration else None
    kept = calibration.domain if calibration else None
    if former and (kept is None or kept.file != former.file):
        (card.folder / former.file).unlink(missing_ok=True)
