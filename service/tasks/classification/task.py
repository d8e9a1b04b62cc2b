"""Classification as data."""

from collections.abc import Mapping
from typing import Any, Final

from service.models.cards import ModelCard
from service.tasks.base import PREDICT, Operation, Task, same_labels
from service.tasks.classification.checks import (
    DOMAIN_SCORE,
    MAX_LOGIT,
    SIGNS,
    embedding_fits,
    explanation_fits,
    scores_fit,
)
from service.tasks.classification.classify import CLASSIFY
from service.tasks.classification.domain import sign_of
from service.tasks.classification.embed import EMBED
from service.tasks.classification.explain import EXPLAIN
from service.tasks.frame import Array

FLOAT_BYTES = 4
STRIDE = 32  # of the last stage, where the card does not name another
LEAST_OF: Final = {MAX_LOGIT: "min_logit", DOMAIN_SCORE: "min_domain_score"}  # in the description of a model
MAX_FEATURES = 4096  # of an embedding; the networks of the paper have 2048


def _scores_bytes(card: ModelCard) -> int:
    return FLOAT_BYTES * (card.network.classes + len(SIGNS))


def _embedding_bytes(_card: ModelCard) -> int:
    return FLOAT_BYTES * MAX_FEATURES


def _maps_bytes(card: ModelCard) -> int:
    """Return the bytes of a map of each class at the resolution of the last stage, and of the scores."""
    side = -(-card.input.size // (card.network.output_stride or STRIDE))
    return FLOAT_BYTES * card.network.classes * (side * side + 1)


def v2_outputs(card: ModelCard) -> dict[str, dict[str, Any]]:
    """Return the outputs of the Open Inference Protocol."""
    signs = [MAX_LOGIT] * (card.calibration is not None)
    signs += [DOMAIN_SCORE] * (card.calibration is not None and card.calibration.domain is not None)
    described = {name: {"datatype": "FP32", "shape": [-1, 1]} for name in signs}
    return {"scores": {"datatype": "FP32", "shape": [-1, card.network.classes]}, **described}


def details(card: ModelCard) -> dict[str, Any]:
    """Return the calibration, if there is one, as `GET /v1/models/{name}` has it."""
    if card.calibration is None:
        return {}
    sign, least = sign_of(card.calibration)
    return {"calibration": {"temperature": card.calibration.temperature, LEAST_OF[sign]: least}}


def agreement(card: ModelCard, ours: Mapping[str, Array], other: ModelCard, theirs: Mapping[str, Array]) -> float:
    """Return 1 where both versions give the image the same best label, and 0 where not."""
    return float(same_labels(card, other)[theirs["scores"].argmax()] == ours["scores"].argmax())


CLASSIFICATION: Final = Task(
    name="classification",
    scope="classify",
    operations=(
        Operation(PREDICT, scores_fit, _scores_bytes),
        Operation("embed", embedding_fits, _embedding_bytes),
        Operation("explain", explanation_fits, _maps_bytes),
    ),
    endpoints=(CLASSIFY, EMBED, EXPLAIN),
    head="service.tasks.classification.head",
    scoring="service.tasks.classification.scoring",
    v2_outputs=v2_outputs,
    v2_on_request=frozenset(SIGNS),
    agreement=agreement,
    published_score=("TOP-1", "top1"),
    features="embed",
    details=details,
)
