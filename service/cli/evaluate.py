"""`resnest-service evaluate`: score models on a folder of labelled images, and write reports."""
# ruff: noqa: PLC0415 - a command imports what it needs when it runs

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.cli.options import LazyChoice, LazyDefaultOption, path_option, store
from service.config.cores import SLEEPING_THREADS
from service.host.supervisor import RunOptions, select_models

if TYPE_CHECKING:
    from service.measure.accuracy.reports import Report
    from service.measure.accuracy.subjects import Subject
    from service.tasks.scoring_base import Dataset, LabelledImage

FORMATS = ("table", "json", "csv")


def _layouts() -> list[str]:
    from service.measure.accuracy import datasets

    return list(datasets.LAYOUTS)


def _qualities() -> list[str]:
    from service.measure.accuracy import scoring

    return scoring.qualities()


@click.command()
@store
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--layout", type=LazyChoice(_layouts), help="Layout of DATASET. Default: recognised by its files.")
@click.option("--split", help="Split of DATASET. Default: the validation images of the layout.")
@click.option("--url", help="URL of a running service that has the models. Default: load them here.")
@click.option(
    "--api-key",
    envvar="RESNEST_API_KEY",
    help="API key for the service. In the environment it is not visible in the list of processes.",
)
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
    layout: str | None,
    split: str | None,
    into: Path | None,
    form: str,
    **settings: Any,
) -> None:
    """Score each MODEL on DATASET, and show its published score beside it.

    DATASET is a folder of ImageNet, ADE20K, Cityscapes or Pascal VOC as published, or a folder with a folder for each
    label. It may also have images and masks of the same names, or an index.csv. All models are checked before the first
    is scored. With --into, a stopped run continues where it was.
    """
    os.environ |= SLEEPING_THREADS | os.environ
    from service.measure.accuracy import datasets

    data = datasets.read(dataset, layout, split)
    usable = [(subject, subject.scoring.usable(subject, data)) for subject in _subjects(store, models, **settings)]
    if into:
        into.mkdir(parents=True, exist_ok=True)
    found: list[Report] = []
    try:
        for subject, images in usable:
            found.append(_score(subject, images, data.root, into))
    finally:  # scores took hours: report them even if a later model fails
        if found:
            _report(found, data, form, into)


def _subjects(
    store: Path, models: Sequence[str], *, url: str | None, api_key: str | None, quality: str
) -> "list[Subject]":
    return _remote(url, api_key, models, quality) if url else _local(store, models, quality)


def _local(store: Path, models: Sequence[str], quality: str) -> "list[Subject]":
    from service.measure.accuracy import subjects
    from service.models.weights import checksums

    served = select_models(RunOptions(store, tuple(models)), click.echo)
    for card in served:
        checksums.verify(card)
        if card.serving.precision == "int8":
            checksums.read_int8(card)
    return [subjects.of_card(card, quality=quality) for card in served]


def _remote(url: str, api_key: str | None, models: Sequence[str], quality: str) -> "list[Subject]":
    from service.measure.accuracy import remote

    service = remote.Service(url, {"Authorization": f"Bearer {api_key}"} if api_key else {})
    return [remote.served(service, name, quality) for name in dict.fromkeys(models)]


def _score(subject: "Subject", images: "Sequence[LabelledImage]", root: Path, into: Path | None) -> "Report":
    from service.measure.accuracy import reports, runs
    from service.tasks.scoring_base import RejectedImage

    journal = into / f"answers-{subject.name}.jsonl" if into else None
    # On standard error, so that standard output has only the report.
    with click.progressbar(length=len(images), label=subject.name, file=sys.stderr, show_pos=True, width=0) as bar:
        found = runs.resumable(subject, images, root, journal, bar.update)
    rejected = tuple(each for each in found if isinstance(each, RejectedImage))
    return reports.Report(subject, runs.scores(subject, found), rejected)


def _report(found: "list[Report]", dataset: "Dataset", form: str, into: Path | None) -> None:
    from service.measure.accuracy import reports

    written = {"table": reports.terminal(found), "json": reports.as_json(found, dataset), "csv": reports.as_csv(found)}
    click.echo(written[form].rstrip("\n"))
    if into:
        for name in ("json", "csv"):
            (into / f"report.{name}").write_text(written[name], encoding="utf-8")
        page = reports.markdown(found, dataset, _draw(found, into))
        (into / "report.md").write_text(page, encoding="utf-8")
        click.echo(f"{into / 'report.md'}", err=True)


def _draw(found: "list[Report]", into: Path) -> list[str]:
    from service.measure.accuracy import plots

    try:
        return plots.draw(found, into)
    except ImportError:
        click.echo("No plots were drawn because they need matplotlib; install resnest-service[report]", err=True)
        return []
