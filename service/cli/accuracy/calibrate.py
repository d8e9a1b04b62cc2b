"""`resnest-service calibrate`: find what a classifier's scores are worth, and which images it does not know."""
# ruff: noqa: PLC0415 - a command imports what it needs when it runs

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from service.cli.accuracy import card_file, domain_file, left_out
from service.cli.options import path_option, store
from service.cli.terminal import confirm, progress
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
    from service.cli.train.features import Features
    from service.measure.accuracy.subjects import Run, Subject
    from service.tasks.classification.calibration import Fitted, Known, Rates
    from service.tasks.classification.domain_head import DomainHead
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
    help="Images that show none of the model's classes. Half of them fit the domain score, the others measure it.",
)
@path_option(
    "--check-others", kind="folder", exists=True, help="Images of other things that measure. All of --others then fit."
)
@path_option(
    "--known",
    kind="folder",
    exists=True,
    help="Labelled images that fit the domain score, which may be those that trained the model. Default: every second "
    "image of DATASET that fits.",
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
    store: Path, model: str, dataset: Path, *, false_alarms: float, yes: bool, **folders: Path | None
) -> None:
    """Calibrate MODEL with the labelled images of DATASET, measure the result, and ask whether to update its card.

    MODEL is a classifier. DATASET has images that it was not trained with, as for `evaluate`. Its answers then have
    scores that are closer to the share of right ones, and say `unknown` of an image that is like none of its classes.
    With --others, that is found by a domain score of the network's features, otherwise by the largest logit.
    To undo it, remove [calibration] from the card.
    """
    os.environ |= SLEEPING_THREADS | os.environ
    if not folders["others"] and (folders["known"] or folders["check_others"]):
        raise click.UsageError("--known and --check-others need --others")
    (card,) = select_models(RunOptions(store, (model,)), click.echo)
    checksums.verify(card.model_copy(update={"calibration": None}))
    neutral = domain_file.neutral(card)
    task, subject = _task_of(neutral)
    images = _images(neutral, subject, dataset, folders)
    with domain_file.candidate(card, _domain_head(neutral, images)) as candidate:
        run = _task_of(candidate)[1].open()
        fitted = task.fit(_known(task, subject, run, images.fitting, "fit"), false_alarms)
        known = _known(task, subject, run, images.checking, "check")
        others = [output for _, output in _outputs(run, images.check_others, subject.batch, "others")]
        rates = task.measure(fitted, known, others)
        _show(card, fitted, rates)
        if not yes:
            confirm(f"Write this to the card of {card.name}?")
        calibration = _calibration(candidate, fitted)
        _write(card, calibration, {"fitted_on": len(images.fitting), **images.counts, **rates.document()})
    click.echo(f"Updated {card.folder / 'card.toml'}", err=True)


@dataclass(frozen=True)
class _Images:
    """The images that fit and check the calibration, and those that fit and check the domain score, if there is one."""

    fitting: "Sequence[LabelledImage]"
    checking: "Sequence[LabelledImage]"
    known: "Sequence[LabelledImage]" = ()
    others: Sequence[Path] = ()
    check_others: Sequence[Path] = ()

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of images that fit the domain score, for the card."""
        return {"domain_fitted_on": len(self.known), "others_fitted_on": len(self.others)} if self.others else {}


def _images(card: ModelCard, subject: "Subject", dataset: Path, folders: Mapping[str, Path | None]) -> _Images:
    """Return the images by what they are for. Raises `CardError` if there are too few."""
    images, check = _labelled(subject, dataset), folders["check"]
    fitting, checking = (images, _labelled(subject, check)) if check else (images[::2], images[1::2])
    if not folders["others"]:
        _require(card, dataset, len(images))
        return _Images(fitting, checking)
    others = left_out.images(folders["others"])
    check_others = left_out.images(folders["check_others"]) if folders["check_others"] else others[1::2]
    fit_others = others if folders["check_others"] else others[::2]
    if not _fits_domain(card, fit_others):
        _require(card, dataset, len(images))
        return _Images(fitting, checking, check_others=check_others if folders["check_others"] else others)
    known = _labelled(subject, folders["known"]) if folders["known"] else fitting[::2]
    fitting = fitting if folders["known"] else fitting[1::2]
    _require(card, dataset, len(images) if folders["known"] else len(images) // 2)
    return _Images(fitting, checking, known, fit_others, check_others)


def _fits_domain(card: ModelCard, others: Sequence[Path]) -> bool:
    """Return whether a domain score can be fitted, and say why not."""
    from service.cli.train import features

    if not domain_file.suffice(len(others)):
        return False
    try:
        features.operation_of(card)
    except CardError:
        click.echo(f"{card.name} has no features that could be embedded, so the others only measure", err=True)
        return False
    return True


def _require(card: ModelCard, dataset: Path, images: int) -> None:
    """Raise `CardError` if there are too few images, and say so if there are few."""
    if images < LEAST:
        raise CardError(f"{dataset} has {images} labelled images for {card.name}; at least {LEAST} are needed")
    if images < FEW:
        click.echo(f"{images} images make rough rates; {FEW} would be better", err=True)


def _domain_head(card: ModelCard, images: _Images) -> "DomainHead | None":
    """Return a domain head that is fitted to the images, or None if there are no other things among them."""
    if not images.others:
        return None
    known = _features(card, [image.path for image in images.known], "known")
    return domain_file.fit(known, _features(card, images.others, "others")).head


def _features(card: ModelCard, paths: Sequence[Path], label: str) -> "Features":
    """Return the features of the images that can be read. Name the others. Raises `CardError` if there are none."""
    from service.cli.train import features
    from service.measure.pipeline import Pipeline

    pipeline = Pipeline.load(card, operation=features.operation_of(card))
    with progress(label, len(paths), 0) as step:
        found = features.extract(pipeline, paths, step)
    for remark in found.left_out:
        click.echo(f"Skipping {text_file.printable(remark.path)}: {remark.reason}", err=True)
    return found.features


def _task_of(card: ModelCard) -> "tuple[Any, Subject]":
    """Return the calibration module of the card's task, and the model to run. Raises `CardError`."""
    from service.measure.accuracy import subjects

    subject = subjects.of_card(card)
    if subject.scoring.calibration is None:
        raise CardError(f"{card.name} is for {card.task}, which has no calibration; only classifiers have one")
    return importlib.import_module(subject.scoring.calibration), subject


def _labelled(subject: "Subject", folder: Path) -> "Sequence[LabelledImage]":
    from service.measure.accuracy import datasets

    data = datasets.read(folder)
    images: Sequence[LabelledImage] = subject.scoring.usable(subject, data)
    used = {image.path for image in images}
    unused = [Remark(image.path, "it has no label") for image in data.images if image.path not in used]
    left_out.say([*data.left_out, *unused], folder)
    return images


def _known(task: Any, subject: "Subject", run: "Run", images: "Sequence[LabelledImage]", label: str) -> "Known":
    by_path = {image.path: subject.class_ids[image.label] for image in images}
    found = list(_outputs(run, list(by_path), subject.batch, label))
    known: Known = task.Known([output for _, output in found], [by_path[path] for path, _ in found])
    return known


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
    if paths and not read:
        raise CardError(f"no image to {label} the calibration could be read")


def _show(card: ModelCard, fitted: "Fitted", rates: "Rates") -> None:
    from service.cli.terminal import show_table

    head = ("MODEL", "TEMPERATURE", "ECE BEFORE", "ECE", "FALSE ALARMS", "OTHERS FOUND", "AUROC", "OF MAX LOGIT")
    found = "-" if rates.found is None else f"{100 * rates.found:.1f} % of {rates.others}"
    row = (
        card.name,
        f"{fitted.temperature:.3f}",
        f"{100 * rates.ece_before:.2f} %",
        f"{100 * rates.ece_after:.2f} %",
        f"{100 * rates.false_alarms:.1f} % of {rates.images}",
        found,
        *("-" if share is None else f"{share:.3f}" for share in (rates.auroc, rates.auroc_of_max_logit)),
    )
    show_table(head, [row])


def _calibration(candidate: ModelCard, fitted: "Fitted") -> Calibration:
    """Return the calibration of the candidate with what was fitted."""
    domain = candidate.calibration.domain if candidate.calibration else None
    return Calibration(
        temperature=fitted.temperature,
        min_logit=None if domain else fitted.least,
        domain=domain.model_copy(update={"min_score": fitted.least}) if domain else None,
        made_of=str(candidate.checksum),
    )


def _write(card: ModelCard, calibration: Calibration, measured: Mapping[str, Any]) -> None:
    with card_file.edited(card.folder) as document:
        document["calibration"] = calibration.model_dump(exclude_none=True)
        document["measured"]["calibration"] = dict(measured)
