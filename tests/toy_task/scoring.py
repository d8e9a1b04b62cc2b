"""The scoring of the toy task: the share of images whose label is among the picks."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.tasks.scoring_base import (
    Batch,
    BatchComparison,
    Column,
    Dataset,
    EvaluatedModel,
    LabelledImage,
    PipelineOutput,
    RunningService,
    Scoring,
)


@dataclass(frozen=True)
class PickOutcome:
    """An image, its class, and whether that was picked."""

    image: str
    true: int
    found: bool


@dataclass(frozen=True)
class PickScores:
    """The number of scored images, and the number of those whose class was picked. There is no confusion matrix."""

    labels: Sequence[str]
    images: int
    found: int
    confusion: None = None


def usable(model: EvaluatedModel, dataset: Dataset) -> list[LabelledImage]:
    """Return the images that have a label."""
    return dataset.with_truth(lambda image: image.label, "label", model.name)


def outcome_of(model: EvaluatedModel, image: LabelledImage, output: PipelineOutput) -> PickOutcome:
    """Return whether the image's class was picked."""
    true = model.class_ids[image.label]
    return PickOutcome(str(image.path), true, true in output.arrays["picks"].astype(int).tolist())


def scores(labels: Sequence[str], outcomes: Sequence[PickOutcome]) -> PickScores:
    """Return the scores of at least one outcome."""
    return PickScores(labels, len(outcomes), sum(each.found for each in outcomes))


def ask(service: RunningService, query: str, upload: bytes, _classes: int) -> PipelineOutput:
    """Return the output of a running service."""
    (result,) = json.loads(service.ask(f"/v1/pick{query}", upload))["results"]
    ids = np.array([row["class_id"] for row in result["picks"]], np.float32)
    return PipelineOutput({"picks": ids}, result["image"]["width"], result["image"]["height"])


def compare(first: Batch, second: Batch) -> BatchComparison:
    """Compare which images have the same picks."""
    same = np.array([np.array_equal(one, other) for one, other in zip(first["picks"], second["picks"], strict=True)])
    return BatchComparison(len(same), same, np.zeros(len(same)))


def document(_scores: PickScores) -> dict[str, Any]:
    """Return no further members."""
    return {}


SCORING = Scoring(
    outcome=PickOutcome,
    usable=usable,
    outcome_of=outcome_of,
    scores=scores,
    columns=(Column("PICKED", "picked", lambda found: found.found / found.images, "picked"),),
    label_figure="picked",
    label_shares=lambda found: dict.fromkeys(found.labels, 1.0),
    document=document,
    ask=ask,
    compare=compare,
    same="SAME PICKS",
)
