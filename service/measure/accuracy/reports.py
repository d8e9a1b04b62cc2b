"""Reports of an evaluation, with several models side by side: for a terminal, as JSON, CSV and Markdown."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from service.measure.accuracy import listing
from service.measure.accuracy.scoring import scoring_of
from service.measure.accuracy.subjects import Subject
from service.measure.tables import STARRED, Table, stated
from service.models import text_file
from service.tasks import TASKS
from service.tasks.scoring_base import Dataset, RejectedImage, Remark, Scores

MAX_LABELS: Final = 40  # in a terminal and in Markdown: the lowest ones, if there are more
NONE: Final = "-"


@dataclass(frozen=True)
class Report:
    """One model's scores on a data set, the images that the service rejects, and those without truth for the model."""

    subject: Subject
    scores: Scores
    rejected: tuple[RejectedImage, ...] = ()
    left_out: tuple[Remark, ...] = ()

    @property
    def label_shares(self) -> dict[str, float]:
        """The task's figure of each label, the lowest first."""
        return dict(sorted(self.subject.scoring.label_shares(self.scores).items(), key=lambda item: item[1]))


def terminal(reports: Sequence[Report]) -> list[Table | str]:
    """Return tables in per cent, one of the models and one of the labels for each task, and sentences about them."""
    parts: list[Table | str] = []
    for task, of_task in by_task(reports):
        parts.append(_overview(task, of_task))
        parts += [f"{name}: {condition}" for name, condition in _conditions(of_task)]
        parts.append(_labels(task, of_task))
    return parts + [
        f"{report.subject.name}: {len(report.rejected)} images are rejected" for report in reports if report.rejected
    ]


def as_json(reports: Sequence[Report], dataset: Dataset, plots: Sequence[str] = ()) -> str:
    """Return every figure as a share of 1; `published` is as on the card, in per cent."""
    models = [_document(report) for report in reports]
    document = {
        "dataset": text_file.printable(dataset.root),
        "layout": dataset.layout,
        "left_out": _remarks(dataset.left_out),
        "notes": _remarks(dataset.notes),
        "plots": list(plots),
        "models": models,
    }
    return json.dumps(document, indent=2)


def as_csv(reports: Sequence[Report]) -> str:
    """Return a row for each figure of each model and label, as shares of 1."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("model", "version", "figure", "label", "value"))
    for report in reports:
        document, scoring = _document(report), report.subject.scoring
        names = ("images", *(column.name for column in scoring.columns))
        overall = [(name, "", document[name]) for name in names]
        shares = [(scoring.label_figure, label, value) for label, value in report.label_shares.items()]
        writer.writerows((report.subject.name, report.subject.version, *row) for row in (*overall, *shares))
    return out.getvalue()


def markdown(reports: Sequence[Report], dataset: Dataset, plots: Sequence[str]) -> str:
    """Return a page with the tables, the published figures and the plots, given as file names."""
    name = text_file.printable(dataset.root.name)
    lines = [f"# Evaluation on {name}", "", f"{len(dataset.images)} images, layout `{dataset.layout}`."]
    for task, of_task in by_task(reports):
        lines += ["", f"## {task.capitalize()}", "", *_pipes(*_overview(task, of_task))]
        lines += ["", *(f"- {name}: {condition}" for name, condition in _conditions(of_task))]
        lines += [
            "",
            f"### {scoring_of(task).label_figure.upper()} of each label",
            "",
            *_pipes(*_labels(task, of_task)),
        ]
    rejected = [(report.subject.name, each) for report in reports for each in report.rejected]
    if rejected:
        lines += ["", "## Rejected images", "", *(f"- {name}: {each.image}: {each.code}" for name, each in rejected)]
    remarks = [*dataset.left_out, *(each for report in reports for each in report.left_out)]
    for title, found in (("Left out", remarks), ("Notes", list(dataset.notes))):
        if found:
            lines += ["", f"## {title}", "", *(f"- {row}" for row in listing.summary(found, dataset.root, len(found)))]
    lines += ["", *(f"![{Path(name).stem}]({name})\n" for name in plots)]
    return "\n".join(lines).rstrip() + "\n"


def by_task(reports: Sequence[Report]) -> list[tuple[str, list[Report]]]:
    """Return the tasks that have reports, each with its reports."""
    grouped = [(task, [report for report in reports if report.subject.task == task]) for task in TASKS]
    return [(task, of_task) for task, of_task in grouped if of_task]


def _overview(task: str, reports: Sequence[Report]) -> tuple[list[str], list[list[str]]]:
    head = ["MODEL", "VERSION", "IMAGES"]
    rows = [[report.subject.name, report.subject.version, str(report.scores.images)] for report in reports]
    for column in scoring_of(task).columns:
        head.append(column.head)
        for row, report in zip(rows, reports, strict=True):
            row.append(_percent(column.share(report.scores)))
        if column.published:
            head.append("PUBLISHED")
            for row, report in zip(rows, reports, strict=True):
                row.append(_published(report, column.published))
    return head, rows


def _labels(task: str, reports: Sequence[Report]) -> tuple[list[str], list[list[str]]]:
    """Return a row for each label, sorted by the first model's figure, with a column for each model."""
    shares = [report.label_shares for report in reports]
    labels = list(dict.fromkeys(label for each in shares for label in each))[:MAX_LABELS]
    head = [f"{scoring_of(task).label_figure.upper()} OF", *(report.subject.name for report in reports)]
    return head, [[label, *(_percent(each[label]) if label in each else NONE for each in shares)] for label in labels]


def _percent(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:.2f}"


def _published(report: Report, name: str) -> str:
    return stated(report.subject.published, report.subject.measured, name)


def _conditions(reports: Sequence[Report]) -> list[tuple[str, str]]:
    """Return for each model how the published figure was measured, and which library resized the images here."""
    subjects = [report.subject for report in reports]
    protocols = [(each.name, each.published.get("protocol")) for each in subjects]
    columns = {each.name: [column.published for column in each.scoring.columns] for each in subjects}
    starred = [
        (report.subject.name, STARRED)
        for report in reports
        if any(name and _published(report, name).endswith("*") for name in columns[report.subject.name])
    ]
    return [
        *((name, f"published with: {protocol}") for name, protocol in protocols if protocol),
        *starred,
        *((each.name, f"resized with: {each.resizer}") for each in subjects if each.resizer),
    ]


def _pipes(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    body = (head, ["---"] * len(head), *rows)
    return [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in body]


def _document(report: Report) -> dict[str, Any]:
    scores, subject = report.scores, report.subject
    document: dict[str, Any] = {"model": subject.name, "version": subject.version, "task": subject.task}
    document |= {"images": scores.images, "resizer": subject.resizer}
    document |= {column.name: column.share(scores) for column in subject.scoring.columns}
    document["published"] = subject.published
    document |= subject.scoring.document(scores)
    if scores.confusion is not None:
        document["confusion"] = {"labels": scores.labels, "counts": scores.confusion}
    document["rejected"] = [{"image": each.image, "code": each.code} for each in report.rejected]
    document["left_out"] = _remarks(report.left_out)
    return document


def _remarks(remarks: Sequence[Remark]) -> list[dict[str, str]]:
    return [{"file": text_file.printable(each.path), "reason": text_file.printable(each.reason)} for each in remarks]
