"""Plots of an evaluation: confusion matrices, plots of the task, and the figure of each label."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from service.measure.accuracy.reports import MAX_LABELS, Report, by_task
from service.measure.accuracy.scoring import scoring_of
from service.tasks.scoring_base import ConfusionRows

LABEL_INCHES: Final = 0.25


def draw(reports: Sequence[Report], folder: Path) -> list[str]:
    """Write PNGs into `folder` and return their names. Raises `ImportError` if matplotlib is not installed."""
    names = []
    for report in reports:
        model = report.subject.name
        if report.scores.confusion is not None:
            names.append(_save(_confusion(report, report.scores.confusion), folder / f"confusion-{model}.png"))
        for kind, plot in report.subject.scoring.plots.items():
            figure = _figure(5, 5)
            plot(figure.subplots(), report.scores)
            names.append(_save(figure, folder / f"{kind}-{model}.png"))
    for task, of_task in by_task(reports):
        what = scoring_of(task).label_figure
        names.append(_save(_bars(of_task, what), folder / f"{what}-{task}.png"))
    return names


def remove_earlier(folder: Path) -> None:
    """Remove the plots of an earlier evaluation, which the `report.json` of the folder names."""
    try:
        names = json.loads((folder / "report.json").read_text(encoding="utf-8"))["plots"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in names:
        if Path(name).name == name and name.endswith(".png"):
            (folder / name).unlink(missing_ok=True)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra; and no pyplot, which keeps a global state

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> str:
    figure.savefig(path, dpi=120)
    return path.name


def _confusion(report: Report, rows: ConfusionRows) -> Any:
    """Return a figure with the share of each true label's images, or pixels, that was predicted as each label."""
    counts = np.asarray(rows, np.float64)
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    named = len(counts) <= MAX_LABELS
    side = max(4.0, LABEL_INCHES * min(len(counts), MAX_LABELS) + 2)
    figure = _figure(side + 1, side)
    axes = figure.subplots()
    figure.colorbar(axes.imshow(shares, vmin=0, vmax=1, cmap="viridis"), ax=axes)
    axes.set(title=report.subject.name, xlabel="predicted", ylabel="true")
    if named:
        ticks = range(len(counts))
        axes.set_xticks(ticks, report.scores.labels, rotation=90)
        axes.set_yticks(ticks, report.scores.labels)
    return figure


def _bars(reports: Sequence[Report], what: str) -> Any:
    """Return a figure with a bar of each model for each label, the lowest label first."""
    shares = [report.label_shares for report in reports]
    labels = list(dict.fromkeys(label for each in shares for label in each))[:MAX_LABELS]
    figure = _figure(8, 1.5 + LABEL_INCHES * len(labels) * max(1, len(reports) / 2))
    axes = figure.subplots()
    height = 0.8 / len(reports)
    for index, (report, each) in enumerate(zip(reports, shares, strict=True)):
        rows = [row + index * height for row in range(len(labels))]
        axes.barh(rows, [each.get(label, 0.0) for label in labels], height, align="edge", label=report.subject.name)
    axes.set_yticks([row + 0.4 for row in range(len(labels))], labels)
    axes.invert_yaxis()
    axes.set(xlabel=what, xlim=(0, 1))
    figure.legend(loc="outside lower center", ncols=2)  # beside the bars, which fill the axes
    return figure
