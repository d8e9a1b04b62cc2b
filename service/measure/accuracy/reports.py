"""What an evaluation found, several models side by side: for a terminal, for programs, and as a page with plots."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from service.measure.accuracy.datasets import Dataset
from service.measure.accuracy.scores import Classification, RejectedImage, Scores
from service.measure.accuracy.subjects import Subject
from service.measure.tables import table
from service.models.cards import Task

SHOWN_LABELS = 40  # in a terminal and on a page; the lowest ones where there are more
NONE = "-"


@dataclass(frozen=True)
class Report:
    """One model's scores on a data set, and the pictures that could not be read."""

    subject: Subject
    scores: Scores
    unread: tuple[RejectedImage, ...] = ()


@dataclass(frozen=True)
class Column:
    """A figure of a task's table: its head, its name for programs, and its value as a share."""

    head: str
    name: str
    share: Callable[[Any], float]
    published: str | None = None  # its name on a card, where it is in per cent


COLUMNS: Final[Mapping[Task, Sequence[Column]]] = {
    "classification": (
        Column("TOP-1", "top1", lambda scores: scores.top1, "top1"),
        Column("TOP-5", "top5", lambda scores: scores.top5, "top5"),
        Column("ECE", "calibration_error", lambda scores: scores.calibration_error),
    ),
    "segmentation": (
        Column("MIOU", "mean_iou", lambda scores: scores.mean_iou, "miou"),
        Column("PIXELS", "pixel_accuracy", lambda scores: scores.pixel_accuracy, "pixel_accuracy"),
    ),
}
OF_A_LABEL: Final[Mapping[Task, str]] = {"classification": "recall", "segmentation": "iou"}


def terminal(reports: Sequence[Report]) -> str:
    """Tables in per cent, one of the models and one of the labels for each task."""
    parts = []
    for task, of_task in _by_task(reports):
        parts.append(table(*_overview(task, of_task)))
        parts += [f"{name}: {protocol}" for name, protocol in _protocols(of_task)]
        parts.append(table(*_labels(task, of_task)))
    parts += [
        f"{report.subject.name}: {len(report.unread)} pictures are refused" for report in reports if report.unread
    ]
    return "\n\n".join(parts)


def as_json(reports: Sequence[Report], dataset: Dataset) -> str:
    """Every figure, as shares of 1; `published` is as on the card, in per cent."""
    models = [_document(report) for report in reports]
    return json.dumps({"dataset": str(dataset.root), "layout": dataset.layout, "models": models}, indent=2)


def as_csv(reports: Sequence[Report]) -> str:
    """A row for each figure of each model and label, as shares of 1."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("model", "version", "figure", "label", "value"))
    for report in reports:
        document = _document(report)
        figure = OF_A_LABEL[report.subject.task]
        overall = [(name, "", document[name]) for name in ("pictures", *_names(report.subject.task))]
        shares = [(figure, label, value) for label, value in of_labels(report.scores).items()]
        writer.writerows((report.subject.name, report.subject.version, *row) for row in (*overall, *shares))
    return out.getvalue()


def markdown(reports: Sequence[Report], dataset: Dataset, plots: Sequence[str]) -> str:
    """A page with the tables, what was published, and the plots, which are named by their files."""
    lines = [f"# Evaluation on {dataset.root.name}", "", f"{len(dataset.photos)} pictures, layout `{dataset.layout}`."]
    for task, of_task in _by_task(reports):
        lines += ["", f"## {task.capitalize()}", "", *_pipes(*_overview(task, of_task))]
        lines += ["", *(f"- {name}: {protocol}" for name, protocol in _protocols(of_task))]
        lines += ["", f"### {OF_A_LABEL[task].upper()} of each label", "", *_pipes(*_labels(task, of_task))]
    refused = [(report.subject.name, each) for report in reports for each in report.unread]
    if refused:
        lines += ["", "## Refused pictures", "", *(f"- {name}: {each.picture}: {each.code}" for name, each in refused)]
    lines += ["", *(f"![{Path(name).stem}]({name})\n" for name in plots)]
    return "\n".join(lines).rstrip() + "\n"


def of_labels(scores: Scores) -> dict[str, float]:
    """The task's figure of each label, the lowest first."""
    shares = scores.recall if isinstance(scores, Classification) else scores.iou
    return dict(sorted(shares.items(), key=lambda item: item[1]))


def _by_task(reports: Sequence[Report]) -> list[tuple[Task, list[Report]]]:
    grouped = [(task, [report for report in reports if report.subject.task == task]) for task in COLUMNS]
    return [(task, of_task) for task, of_task in grouped if of_task]


def _names(task: Task) -> list[str]:
    return [column.name for column in COLUMNS[task]]


def _overview(task: Task, reports: Sequence[Report]) -> tuple[list[str], list[list[str]]]:
    head = ["MODEL", "VERSION", "PICTURES"]
    rows = [[report.subject.name, report.subject.version, str(report.scores.pictures)] for report in reports]
    for column in COLUMNS[task]:
        head.append(column.head)
        for row, report in zip(rows, reports, strict=True):
            row.append(_percent(column.share(report.scores)))
        if column.published:
            head.append("PUBLISHED")
            for row, report in zip(rows, reports, strict=True):
                row.append(_stated(report, column.published))
    return head, rows


def _labels(task: Task, reports: Sequence[Report]) -> tuple[list[str], list[list[str]]]:
    """A row for each label, by the first model's figure, and a column for each model."""
    shares = [of_labels(report.scores) for report in reports]
    labels = list(dict.fromkeys(label for each in shares for label in each))[:SHOWN_LABELS]
    head = [f"{OF_A_LABEL[task].upper()} OF", *(report.subject.name for report in reports)]
    return head, [[label, *(_percent(each[label]) if label in each else NONE for each in shares)] for label in labels]


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _stated(report: Report, published: str) -> str:
    value = report.subject.published.get(published)
    return NONE if value is None else f"{value:.2f}"


def _protocols(reports: Sequence[Report]) -> list[tuple[str, str]]:
    stated = [(report.subject.name, report.subject.published.get("protocol")) for report in reports]
    return [(name, f"published with: {protocol}") for name, protocol in stated if protocol]


def _pipes(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    body = (head, ["---"] * len(head), *rows)
    return [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in body]


def _document(report: Report) -> dict[str, Any]:
    scores, subject = report.scores, report.subject
    document: dict[str, Any] = {"model": subject.name, "version": subject.version, "task": subject.task}
    document["pictures"] = scores.pictures
    document |= {column.name: column.share(scores) for column in COLUMNS[subject.task]}
    document["published"] = subject.published
    if isinstance(scores, Classification):
        document["labels"] = {name: asdict(label) | {"f1": label.f1} for name, label in scores.labels_told.items()}
        document["bins"] = [asdict(each) for each in scores.bins]
    else:
        document |= {"foreground_iou": scores.foreground_iou, "iou": scores.iou}
    document["confusion"] = {"labels": scores.labels, "counts": scores.confusion}
    document["refused"] = [asdict(each) for each in report.unread]
    return document
