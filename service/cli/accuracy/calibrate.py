"""`resnest-service calibrate`: find what a classifier's scores are worth, and which images it does not know."""
# ruff: noqa: PLC0415 - a command imports what it needs when it runs

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from service.cli.accuracy import card_file
from service.cli.options import path_option, store
from service.cli.terminal import progress
from service.config.cores import SLEEPING_THREADS
from service.errors import ServiceError
from service.host.run_options import RunOptions
from service.host.served_models.selection import select_models
from service.models import text_file
from service.models.calibration import Calibration
from service.models.cards import CardError, ModelCard
from service.models.weights import checksums
from service.tasks.scoring_base import Remark

if TYPE_CHECKING:
    from service.measure.accuracy.subjects import Run, Subject
    from service.tasks.classification.calibration import Known, Rates
    from service.tasks.scoring_base import LabelledImage, PipelineOutput

LEAST: Final = 40  # images: a share of 5 % of the fitting half is then one image
FEW: Final = 200  # images: with fewer, the rates are rough


@click.command()
@store
@click.argument("model")
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@path_option(
    "--check",
    kind="folder",
    exists=True,
    help="Labelled images that measure the calibration. Default: every second image of DATASET.",
)
@path_option(
    "--others",
    kind="folder",
    exists=True,
    help="Folder of images that show none of the model's classes. They measure how many are called unknown.",
)
@click.option(
    "--false-alarms",
    default=0.05,
    show_default=True,
    type=click.FloatRange(0, 0.5, min_open=True),
    help="Share of images of the model's classes that may be called unknown.",
)
@click.option("--yes", is_flag=True, help="Update the card without asking.")
def calibrate(
    store: Path, model: str, dataset: Path, check: Path | None, others: Path | None, false_alarms: float, *, yes: bool
) -> None:
    """Calibrate MODEL with the labelled images of DATASET, measure the result, and ask whether to update its card.

    MODEL is a classifier. DATASET has images that it was not trained with, as for `evaluate`. Its answers then have
    scores that are closer to the share of right ones, and say `unknown` of an image that is like none of its classes.
    To undo it, remove [calibration] from the card.
    """
    os.environ |= SLEEPING_THREADS | os.environ
    card = _uncalibrated(store, model)
    task, subject = _task_of(card)
    images = _labelled(subject, dataset)
    if len(images) < LEAST:
        raise CardError(f"{dataset} has {len(images)} labelled images for {card.name}; at least {LEAST} are needed")
    if len(images) < FEW:
        click.echo(f"{len(images)} images make rough rates; {FEW} would be better", err=True)
    fitting, checking = (images, _labelled(subject, check)) if check else (images[::2], images[1::2])
    run = subject.open()
    fitted = task.fit(_known(task, subject, run, fitting, "fit"), false_alarms)
    known = _known(task, subject, run, checking, "check")
    rates = task.measure(fitted, known, _others(run, subject.batch, others) if others else ())
    _show(card, fitted, rates)
    if not yes:
        click.confirm(f"Write this to the card of {card.name}?", abort=True)
    _write(card, fitted, rates, len(fitting))
    click.echo(f"Updated {card.folder / 'card.toml'}", err=True)


def _uncalibrated(store: Path, model: str) -> ModelCard:
    """Return the card with a calibration that changes no score, so that the largest logits are returned."""
    (card,) = select_models(RunOptions(store, (model,)), click.echo)
    card = card.model_copy(update={"calibration": None})
    checksums.verify(card)
    neutral = Calibration(temperature=1.0, min_logit=0.0, made_of=str(card.checksum))
    return card.model_copy(update={"calibration": neutral})


def _task_of(card: ModelCard) -> "tuple[Any, Subject]":
    """Return the calibration module of the card's task, and the model to run. Raises `CardError`."""
    from service.measure.accuracy import subjects

    subject = subjects.of_card(card)
    if subject.scoring.calibration is None:
        raise CardError(f"{card.name} is for {card.task}, which has no calibration; only classifiers have one")
    return importlib.import_module(subject.scoring.calibration), subject


def _labelled(subject: "Subject", folder: Path) -> "Sequence[LabelledImage]":
    from service.measure.accuracy import datasets

    images: Sequence[LabelledImage] = subject.scoring.usable(subject, datasets.read(folder))
    return images


def _known(task: Any, subject: "Subject", run: "Run", images: "Sequence[LabelledImage]", label: str) -> "Known":
    by_path = {image.path: subject.class_ids[image.label] for image in images}
    found = list(_outputs(run, list(by_path), subject.batch, label))
    known: Known = task.Known([output for _, output in found], [by_path[path] for path, _ in found])
    return known


def _others(run: "Run", batch: int, folder: Path) -> "Sequence[PipelineOutput]":
    from service.measure.accuracy import datasets, listing

    left_out: list[Remark] = []
    paths = listing.images(folder, left_out)
    for line in listing.summary(left_out, folder, datasets.SHOWN):
        click.echo(f"Left out: {line}", err=True)
    return [output for _, output in _outputs(run, paths, batch, "others")]


def _outputs(run: "Run", paths: Sequence[Path], batch: int, label: str) -> "Iterator[tuple[Path, PipelineOutput]]":
    """Yield the images that can be read, with their outputs. Name the others. Raises `CardError` if there are none."""
    from service.measure.accuracy import runs

    read = 0
    with progress(label, len(paths), 0) as step:
        for part in (paths[start : start + batch] for start in range(0, len(paths), batch)):
            found = runs.outputs(run, part)
            step(len(part), sum(isinstance(output, Exception) for output in found))
            for path, output in zip(part, found, strict=True):
                if isinstance(output, ServiceError | OSError):
                    reason = output.code() if isinstance(output, ServiceError) else output.strerror
                    click.echo(f"Skipping {text_file.printable(path)}: {reason}", err=True)
                    continue
                read += 1
                yield path, output
    if not read:
        raise CardError(f"no image to {label} the calibration could be read")


def _show(card: ModelCard, fitted: Mapping[str, float], rates: "Rates") -> None:
    from service.cli.terminal import show_table

    head = ("MODEL", "TEMPERATURE", "ECE BEFORE", "ECE", "FALSE ALARMS", "OTHERS FOUND", "AUROC")
    found = "-" if rates.found is None else f"{100 * rates.found:.1f} % of {rates.others}"
    row = (
        card.name,
        f"{fitted['temperature']:.3f}",
        f"{100 * rates.ece_before:.2f} %",
        f"{100 * rates.ece_after:.2f} %",
        f"{100 * rates.false_alarms:.1f} % of {rates.images}",
        found,
        "-" if rates.auroc is None else f"{rates.auroc:.3f}",
    )
    show_table(head, [row])


def _write(card: ModelCard, fitted: Mapping[str, float], rates: "Rates", images: int) -> None:
    with card_file.edited(card.folder) as document:
        document["calibration"] = {**fitted, "made_of": str(card.checksum)}
        document["measured"]["calibration"] = {"fitted_on": images, **rates.document()}
