"""The pictures of an evaluation: who is taken for whom, how far confidence can be believed, and the labels' bars."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.measure.accuracy.reports import OF_A_LABEL, SHOWN_LABELS, Report, of_labels
from service.measure.accuracy.scores import Classification

INCHES = 0.25  # of a label


def draw(reports: Sequence[Report], folder: Path) -> list[str]:
    """The names of the PNGs written into `folder`. Raises `ImportError` where matplotlib is not installed."""
    names = []
    for report in reports:
        names.append(_save(_confusion(report), folder / f"confusion-{report.subject.name}.png"))
        if isinstance(report.scores, Classification):
            names.append(_save(_reliability(report.scores), folder / f"reliability-{report.subject.name}.png"))
    for task in OF_A_LABEL:
        of_task = [report for report in reports if report.subject.task == task]
        if of_task:
            names.append(_save(_bars(of_task, OF_A_LABEL[task]), folder / f"{OF_A_LABEL[task]}-{task}.png"))
    return names


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra; and no pyplot, which keeps a global state

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> str:
    figure.savefig(path, dpi=120)
    return path.name


def _confusion(report: Report) -> Any:
    """The share of each label's pictures, or pixels, that was given each label."""
    counts = np.asarray(report.scores.confusion, np.float64)
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    named = len(counts) <= SHOWN_LABELS
    side = max(4.0, INCHES * min(len(counts), SHOWN_LABELS) + 2)
    figure = _figure(side + 1, side)
    axes = figure.subplots()
    figure.colorbar(axes.imshow(shares, vmin=0, vmax=1, cmap="viridis"), ax=axes)
    axes.set(title=report.subject.name, xlabel="answered", ylabel="true")
    if named:
        places = range(len(counts))
        axes.set_xticks(places, report.scores.labels, rotation=90)
        axes.set_yticks(places, report.scores.labels)
    return figure


def _reliability(scores: Classification) -> Any:
    """Accuracy over confidence, with the diagonal that a calibrated model would keep to."""
    figure = _figure(5, 5)
    axes = figure.subplots()
    filled = [each for each in scores.bins if each.pictures]
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--")
    axes.bar([each.low for each in filled], [each.accuracy for each in filled], 1 / len(scores.bins), align="edge")
    axes.plot([each.confidence for each in filled], [each.accuracy for each in filled], "o", color="black")
    title = f"expected calibration error {100 * scores.calibration_error:.2f} %"
    axes.set(title=title, xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    return figure


def _bars(reports: Sequence[Report], what: str) -> Any:
    """The figure of each label, the lowest first, a bar for each model."""
    shares = [of_labels(report.scores) for report in reports]
    labels = list(dict.fromkeys(label for each in shares for label in each))[:SHOWN_LABELS]
    figure = _figure(8, 1.5 + INCHES * len(labels) * max(1, len(reports) / 2))
    axes = figure.subplots()
    height = 0.8 / len(reports)
    for place, (report, each) in enumerate(zip(reports, shares, strict=True)):
        rows = [row + place * height for row in range(len(labels))]
        axes.barh(rows, [each.get(label, 0.0) for label in labels], height, align="edge", label=report.subject.name)
    axes.set_yticks([row + 0.4 for row in range(len(labels))], labels)
    axes.invert_yaxis()
    axes.set(xlabel=what, xlim=(0, 1))
    axes.legend()
    return figure
