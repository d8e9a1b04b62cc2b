"""Score a new model on the photos that it was not trained on, with the engine that will serve it."""
# ruff: noqa: PLC0415 - torch is loaded only when a model is scored

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from service.cli.accuracy import domain_file
from service.cli.accuracy.unknown_sign import UnknownSign
from service.cli.terminal import Step, show_table
from service.models.cards import ModelCard
from service.tasks.scoring_base import LabelledImage

Z: Final = 1.96  # of a 95 % interval
IN_A_TABLE: Final = 12  # labels; a wider table of confusions does not fit a terminal
SHOWN_CONFUSIONS: Final = 15


def scores(card: ModelCard, images: Sequence[LabelledImage], step: Step) -> Any:
    """Return the scores of a card's model, which runs in this process by the code that serves it."""
    from service.measure.accuracy import runs, subjects
    from service.tasks.scoring_base import RejectedImage

    subject = subjects.of_card(card)
    found = []
    for outcome in runs.outcomes(subject, images, subject.open()):
        step(1, int(isinstance(outcome, RejectedImage)))
        found.append(outcome)
    return runs.scores(subject, found)


def interval(right: int, images: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of right answers (Wilson, 1927)."""
    share, square = right / images, Z * Z / images
    middle = (share + square / 2) / (1 + square)
    half = Z * math.sqrt(share * (1 - share) / images + square / (4 * images)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_recall(found: Any) -> float:
    """Return the mean of the recall of the labels: the accuracy if all labels were equally frequent."""
    return float(sum(found.recall.values()) / len(found.recall))


def measured(found: Any) -> dict[str, Any]:
    """Return the table `[measured]` of the card."""
    low, high = interval(round(found.top1 * found.images), found.images)
    return {
        "top1": round(found.top1, 4),
        "top1_interval": [round(low, 4), round(high, 4)],
        "mean_recall": round(mean_recall(found), 4),
        "calibration_error": round(found.calibration_error, 4),
        "images": found.images,
        "confusion": [list(row) for row in found.confusion],
        "recall": {label: round(share, 4) for label, share in found.recall.items()},
    }


def report(found: Any, trained_on: Mapping[str, int]) -> None:
    """Print the scores of each label, the confusions, and one sentence about all."""
    head = ("LABEL", "TRAINED ON", "HELD OUT", "RECALL", "PRECISION")
    show_table(
        head,
        [
            (label, str(trained_on[label]), str(row.images), f"{row.recall:.1%}", f"{row.precision:.1%}")
            for label, row in found.by_label.items()
        ],
    )
    click.echo()
    _show_confusions(found)
    low, high = interval(round(found.top1 * found.images), found.images)
    click.echo(
        f"\nHeld-out accuracy: {found.top1:.1%} of {found.images} photos (95 % interval {low:.0%} to {high:.0%}); "
        f"mean recall {mean_recall(found):.1%}; calibration error {found.calibration_error:.1%}"
    )


def report_sign(sign: UnknownSign | None) -> None:
    """Print how often the sign of an unknown image is right, or that there is none."""
    if sign is None:
        click.echo("Unknown images: no sign, because the network was trained too; `calibrate` can add one")
        return
    rates = sign.rates
    false = f"{rates['false_alarms']:.1%} of {rates['images']} held-out photos are called unknown"
    if "found" in rates:
        click.echo(f"Unknown images: {false}; of {rates['others']} other images {rates['found']:.1%} are found")
        return
    click.echo(
        f"Unknown images: {false}. How many images of something else are found was not measured. To measure it, repeat "
        f"with --replace and --others FOLDER, a folder of at least {2 * domain_file.LEAST} of them"
    )


def _show_confusions(found: Any) -> None:
    if len(found.labels) <= IN_A_TABLE:
        rows = [(label, *map(str, row)) for label, row in zip(found.labels, found.confusion, strict=True)]
        show_table(("TRUE LABEL, AND COUNTS OF ANSWERS", *found.labels), rows)
        return
    for count, true, answer in sorted(_wrong(found), reverse=True)[:SHOWN_CONFUSIONS]:
        click.echo(f"{count} of {true} got the answer {answer}")


def _wrong(found: Any) -> Iterator[tuple[int, str, str]]:
    for true, row in zip(found.labels, found.confusion, strict=True):
        yield from (
            (count, true, answer) for answer, count in zip(found.labels, row, strict=True) if count and answer != true
        )
