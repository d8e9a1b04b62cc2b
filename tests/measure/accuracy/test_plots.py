"""The plots, as far as a program can check them."""

from pathlib import Path

import numpy as np
from PIL import Image

from service.measure.accuracy import plots
from service.measure.accuracy.reports import Report
from service.measure.accuracy.subjects import Subject
from service.tasks.classification import scoring as classification
from service.tasks.classification.scoring import ClassificationOutcome
from service.tasks.segmentation import scoring as segmentation
from service.tasks.segmentation.scoring import SegmentationOutcome


def pixels(path: Path) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def test_every_model_is_drawn_and_every_task_has_its_bars(
    classifier: Subject, segmenter: Subject, tmp_path: Path
) -> None:
    labels = [str(class_id) for class_id in range(7)]
    reports = [
        Report(
            classifier,
            classification.scores(
                labels, [ClassificationOutcome("", 0, (0,), 0.9), ClassificationOutcome("", 1, (2,), 1.0)]
            ),
        ),
        Report(segmenter, segmentation.scores(("a", "b", "c"), [SegmentationOutcome("", (0, 1), (0, 1), (6, 1))])),
    ]
    names = plots.draw(reports, tmp_path)
    assert names == [
        "confusion-tiny-classifier.png",
        "reliability-tiny-classifier.png",
        "confusion-tiny-segmenter.png",
        "recall-classification.png",
        "iou-segmentation.png",
    ]
    assert all(pixels(tmp_path / name).std() > 1 for name in names)


def test_other_answers_give_another_plot(classifier: Subject, tmp_path: Path) -> None:
    drawn = []
    for found in (0, 1):
        report = Report(
            classifier,
            classification.scores(
                [str(class_id) for class_id in range(7)], [ClassificationOutcome("", 0, (found,), 1)]
            ),
        )
        drawn.append(pixels(tmp_path / plots.draw([report], tmp_path)[0]))
    assert (drawn[0] != drawn[1]).any()


def test_a_thousand_classes_are_drawn_without_their_names(classifier: Subject, tmp_path: Path) -> None:
    labels = [str(class_id) for class_id in range(1000)]
    report = Report(
        classifier,
        classification.scores(
            labels, [ClassificationOutcome("", class_id, (class_id,), 0.9) for class_id in range(1000)]
        ),
    )
    names = plots.draw([report], tmp_path)
    assert all(max(pixels(tmp_path / name).shape) < 3000 for name in names)
