"""`resnest-service evaluate`: score models on a folder of labelled images, and write reports."""
# ruff: noqa: PLC0415 - a command imports what it needs when it runs

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.cli import terminal
from service.cli.accuracy import left_out
from service.cli.options import LazyChoice, LazyDefaultOption, api_key_option, path_option, service_url, store
from service.config.cores import SLEEPING_THREADS
from service.host.run_options import RunOptions
from service.host.served_models.selection import select_models

if TYPE_CHECKING:
    from service.measure.accuracy.reports import Report
    from service.measure.accuracy.subjects import Subject
    from service.tasks.scoring_base import Dataset, LabelledImage, Remark

FORMATS = ("table", "json", "csv")


def _layouts() -> list[str]:
    from service.measure.accuracy import datasets

    return list(datasets.LAYOUTS)


def _qualities() -> list[str]:
    from service.measure.accuracy import scoring

    return scoring.qualities()


def _mask_values(_context: click.Context, _option: click.Parameter, text: str | None) -> dict[int, int] | None:
    """Return the class id for each mask value of `255=1,128=none`; no class is 255."""
    if text is None:
        return None
    found = {}
    for pair in text.split(","):
        value, _, class_id = (part.strip() for part in pair.partition("="))
        number = "255" if class_id in ("none", "ignore") else class_id
        if not (value.isdecimal() and number.isdecimal() and int(value) < 256 and int(number) < 256):
            raise click.BadParameter(f"{pair!r} is not VALUE=CLASS with numbers from 0 to 255, or VALUE=none")
        found[int(value)] = int(number)
    return found


@click.command()
@store
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--layout", type=LazyChoice(_layouts), help="Layout of DATASET. Default: recognised by its files.")
@click.option("--split", help="Split of DATASET. Default: the validation images of the layout.")
@click.option(
    "--values",
    callback=_mask_values,
    metavar="VALUE=CLASS[,...]",
    help="Class ids of mask values, such as 255=1,128=none. Default: those of the layout.",
)
@click.option("--skip-unknown", is_flag=True, help="Leave out images of labels or classes that a model does not have.")
@click.option(
    "--url", callback=service_url, help="URL of a running service that has the models. Default: load them here."
)
@api_key_option
@click.option(
    "--quality",
    cls=LazyDefaultOption,
    type=LazyChoice(_qualities),
    default=lambda: _qualities()[0],
    show_default=True,
    help="Quality of segmenters: one pass, or the multi-scale protocol of the published scores.",
)
@path_option("--into", kind="folder", help="Folder for all reports and plots.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="Format of the report on standard output.",
)
def evaluate(
    store: Path,
    models: Sequence[str],
    dataset: Path,
    into: Path | None,
    form: str,
    **settings: Any,
) -> None:
    """Score each MODEL on DATASET, and show its published score beside it.

    DATASET is a folder of ImageNet, COCO, ADE20K, Cityscapes or Pascal VOC as published, or a folder with a folder for
    each label. It may also have images and masks of the same names, or an index.csv. All models are checked before the
    first is scored. With --into, a stopped run continues where it was, and a folder with the answers of another run is
    refused.
    """
    os.environ |= SLEEPING_THREADS | os.environ
    from service.measure.accuracy import datasets, runs

    data = datasets.read(
        dataset, **{name: settings.pop(name) for name in ("layout", "split", "values", "skip_unknown")}
    )
    usable = [(subject, subject.scoring.usable(subject, data)) for subject in _subjects(store, models, **settings)]
    for subject, images in usable if into else ():
        runs.require_same(subject, images, data.root, _journal(subject, into))
    unused = {subject.name: _unused(subject, images, data) for subject, images in usable}
    left_out.say([*data.left_out, *chain(*unused.values())], data.root)
    left_out.say(data.notes, data.root, "Note")
    if into:
        into.mkdir(parents=True, exist_ok=True)
    found: list[Report] = []
    try:
        for subject, images in usable:
            report = _score(subject, images, data.root, into)
            found.append(replace(report, left_out=unused[subject.name]))
    finally:  # scores took hours: report them even if a later model fails
        if found:
            _report(found, data, form, into)


def _subjects(
    store: Path, models: Sequence[str], *, url: str | None, api_key: str | None, quality: str
) -> "list[Subject]":
    return _remote(url, api_key, models, quality) if url else _local(store, models, quality)


def _unused(subject: "Subject", used: "Sequence[LabelledImage]", data: "Dataset") -> "tuple[Remark, ...]":
    """Return the images of the data set that the model is not scored on, with the reason."""
    from service.tasks.scoring_base import Remark

    paths = {image.path for image in used}
    unused = [image for image in data.images if image.path not in paths]
    return tuple(
        Remark(image.path, f"{subject.name} is not scored on {f'the label {image.label!r}' if image.label else 'it'}")
        for image in unused
    )


def _local(store: Path, models: Sequence[str], quality: str) -> "list[Subject]":
    from service.measure.accuracy import subjects
    from service.models import zoo
    from service.models.weights import checksums

    served = select_models(RunOptions(store, tuple(models)), click.echo)
    for card in served:
        checksums.verify(card)
        if card.serving.precision == "int8":
            checksums.read_int8(card)
    known = {card.name: card for card in served}
    asked = {name: zoo.find(known, name) for name in models}
    return [replace(subjects.of_card(card, quality=quality), name=name) for name, card in asked.items() if card]


def _remote(url: str, api_key: str | None, models: Sequence[str], quality: str) -> "list[Subject]":
    from service.measure.accuracy import remote

    service = remote.Service(url, {"Authorization": f"Bearer {api_key}"} if api_key else {})
    return [remote.served(service, name, quality) for name in dict.fromkeys(models)]


def _journal(subject: "Subject", into: Path | None) -> Path | None:
    """Return the file that keeps the answers of a model."""
    return into / f"answers-{subject.name}.jsonl" if into else None


def _score(subject: "Subject", images: "Sequence[LabelledImage]", root: Path, into: Path | None) -> "Report":
    from service.measure.accuracy import reports, runs
    from service.tasks.scoring_base import RejectedImage

    journal = _journal(subject, into)
    with terminal.progress(subject.name, len(images), 0) as step:
        found = runs.resumable(subject, images, root, journal, lambda answered: step(answered, 0))
    rejected = tuple(each for each in found if isinstance(each, RejectedImage))
    return reports.Report(subject, runs.scores(subject, found), rejected)


def _report(found: "list[Report]", dataset: "Dataset", form: str, into: Path | None) -> None:
    from service.measure.accuracy import reports

    plots = _draw(found, into) if into else []
    written = {"json": reports.as_json(found, dataset, plots), "csv": reports.as_csv(found)}
    if form in written:
        click.echo(written[form].rstrip("\n"))
    else:
        terminal.show(reports.terminal(found))
    if into:
        for name in ("json", "csv"):
            (into / f"report.{name}").write_text(written[name], encoding="utf-8")
        page = reports.markdown(found, dataset, plots)
        (into / "report.md").write_text(page, encoding="utf-8")
        click.echo(f"{into / 'report.md'}", err=True)


def _draw(found: "list[Report]", into: Path) -> list[str]:
    from service.measure.accuracy import plots

    plots.remove_earlier(into)
    try:
        return plots.draw(found, into)
    except ImportError:
        click.echo("No plots were drawn because they need matplotlib; install resnest-service[report]", err=True)
        return []
