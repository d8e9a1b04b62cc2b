"""Name the unlabelled images that are worth a label, one on each line, with the reason."""
# ruff: noqa: PLC0415 - torch is loaded when a run begins

from pathlib import Path

import click
import numpy as np

from service.cli.accuracy import left_out
from service.cli.predict.output import one_line
from service.cli.terminal import progress
from service.cli.train import features, suggestions
from service.cli.train.features import Features
from service.cli.train.suggestions import Suggestion
from service.models import text_file
from service.models.cards import CardError, ModelCard


def suggest(folder: Path, card: ModelCard, operation: str, count: int, labelled: Features | None) -> None:
    """Print at most `count` images of a folder: path, tab, reason. `labelled` are features of labelled photos.

    `operation` returns the features of the card's model. Raises `CardError`.
    """
    from service.measure.pipeline import Pipeline

    if card.network.classes < 2:
        raise CardError(f"{card.name} has one label, so it is sure of every image")
    paths = left_out.images(folder)
    if not paths:
        raise CardError(f"{folder} has no image")
    with progress("Unlabelled images", len(paths), 0) as step:
        found = features.extract(Pipeline.load(card, operation=operation), paths, step)
    left_out.say(found.left_out, folder)
    probabilities = _probabilities(card, found.features)
    for each in suggestions.choose(found.features, probabilities, count, labelled):
        path = one_line(text_file.printable(paths[found.indices[each.index]]))
        click.echo(f"{path}\t{_reason(card, each)}")


def _probabilities(card: ModelCard, found: Features) -> Features:
    """Return the probabilities `(n, classes)` that the card's model answers for features `(n, d)`."""
    from service.models.weights import checkpoint

    state = checkpoint.read(card)
    temperature = card.calibration.temperature if card.calibration else 1.0
    logits = (found @ state["fc.weight"].numpy().T + state["fc.bias"].numpy()) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Features = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def _reason(card: ModelCard, each: Suggestion) -> str:
    first, second = (
        f"{card.classes[index].label} {share:.0%}" for index, share in zip(each.best, each.probabilities, strict=True)
    )
    unlike = "" if each.distance is None else f"; {each.distance:.2f} from the closest one that is chosen or labelled"
    return f"unsure: {first} or {second}, margin {each.margin:.2f}{unlike}"
