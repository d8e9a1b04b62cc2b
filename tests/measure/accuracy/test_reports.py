"""Reports of an evaluation: as text, JSON, CSV and a page."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from service.measure import tables
from service.measure.accuracy import reports
from service.measure.accuracy.reports import MAX_LABELS, Report
from service.measure.accuracy.subjects import Subject
from service.tasks.classification import scoring as classification
from service.tasks.classification.scoring import ClassificationOutcome
from service.tasks.scoring_base import Dataset, LabelledImage, RejectedImage
from service.tasks.segmentation import scoring as segmentation
from service.tasks.segmentation.scoring import SegmentationOutcome

LABELS = ("cat", "dog", "daisy", "dandelion", "rose", "sunflower", "tulip")


@pytest.fixture
def found(classifier: Subject, segmenter: Subject) -> list[Report]:
    """Return the reports of two classifiers and a segmenter. The second has a published score and a rejected image."""
    some = [
        ClassificationOutcome("a", 0, (0, 1), 0.9),
        ClassificationOutcome("b", 0, (1, 0), 0.6),
        ClassificationOutcome("c", 1, (1,), 0.8),
        ClassificationOutcome("d", 6, (2,), 0.5),
    ]
    published = {"top1": 81.034, "protocol": "Centre crop."}
    rejected = (RejectedImage("broken|.jpg", "image_corrupt"),)
    # Behind a service, whose resizer is not known.
    other = replace(classifier, name="other", published=published, resizer=None)
    classifier, segmenter = (replace(each, resizer="pillow 13.0.0") for each in (classifier, segmenter))
    return [
        Report(classifier, classification.scores(LABELS, some)),
        Report(other, classification.scores(LABELS, some[:1] + some[2:]), rejected),
        Report(
            segmenter,
            segmentation.scores(
                ("background", "cat", "dog"), [SegmentationOutcome("", (0, 1, 1), (0, 0, 1), (6, 1, 3))]
            ),
        ),
    ]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path / "pets", "folders", (LabelledImage(tmp_path / "a", "cat"),) * 4)


def test_a_terminal_shows_models_beside_each_other_and_beside_what_was_published(found: list[Report]) -> None:
    assert tables.text(reports.terminal(found)).splitlines() == [
        "MODEL            VERSION  IMAGES  TOP-1  PUBLISHED  TOP-5  PUBLISHED  ECE",
        "tiny-classifier  1.0      4       50.00  -          75.00  -          35.00",
        "other            1.0      3       66.67  81.03      66.67  -          26.67",
        "",
        "other: published with: Centre crop.",
        "",
        "tiny-classifier: resized with: pillow 13.0.0",
        "",
        "RECALL OF  tiny-classifier  other",
        "tulip      0.00             0.00",
        "cat        50.00            100.00",
        "dog        100.00           100.00",
        "",
        "MODEL           VERSION  IMAGES  MIOU   PUBLISHED  PIXELS  PUBLISHED",
        "tiny-segmenter  1.0      1       80.36  -          90.00   -",
        "",
        "tiny-segmenter: resized with: pillow 13.0.0",
        "",
        "IOU OF      tiny-segmenter",
        "cat         75.00",
        "background  85.71",
        "",
        "other: 1 images are rejected",
    ]


def test_json_has_every_figure_as_a_share(found: list[Report], dataset: Dataset) -> None:
    document = json.loads(reports.as_json(found, dataset))
    first, second, third = document["models"]
    assert (document["layout"], first["images"], first["top1"]) == ("folders", 4, 0.5)
    assert [each["resizer"] for each in document["models"]] == ["pillow 13.0.0", None, "pillow 13.0.0"]
    assert first["labels"]["cat"] == {"images": 2, "recall": 0.5, "precision": 1, "f1": pytest.approx(2 / 3)}
    assert first["confusion"]["counts"][0][:2] == [1, 1]
    assert second["published"]["top1"] == 81.034
    assert second["rejected"] == [{"image": "broken|.jpg", "code": "image_corrupt"}]
    assert third["iou"] == {"background": pytest.approx(6 / 7), "cat": 0.75}


def test_csv_has_a_row_for_each_figure_and_label(found: list[Report]) -> None:
    rows = list(csv.DictReader(io.StringIO(reports.as_csv(found))))
    assert rows[1] == {"model": "tiny-classifier", "version": "1.0", "figure": "top1", "label": "", "value": "0.5"}
    of_labels = {(row["model"], row["label"]): float(row["value"]) for row in rows if row["label"]}
    assert of_labels["tiny-segmenter", "cat"] == 0.75
    assert of_labels["other", "cat"] == 1


def test_a_page_has_tables_protocols_plots_and_what_was_refused(found: list[Report], dataset: Dataset) -> None:
    page = reports.markdown(found, dataset, ["a.png"])
    assert page.startswith("# Evaluation on pets\n\n4 images, layout `folders`.\n\n## Classification\n")
    assert "| other | 1.0 | 3 | 66.67 | 81.03 | 66.67 | - | 26.67 |" in page
    assert "- other: published with: Centre crop.\n- tiny-classifier: resized with: pillow 13.0.0\n" in page
    assert "- other: broken|.jpg: image_corrupt" in page
    assert page.endswith("![a](a.png)\n")


def test_of_many_labels_the_lowest_are_shown(classifier: Subject) -> None:
    labels = [f"label-{class_id:03}" for class_id in range(100)]
    outcomes = [
        ClassificationOutcome("", class_id, (class_id if class_id >= 50 else 99,), 0.5) for class_id in range(100)
    ]
    shown = tables.text(reports.terminal([Report(classifier, classification.scores(labels, outcomes))]))
    lines = [line.split()[0] for line in shown.splitlines() if line.startswith("label-")]
    assert lines == labels[:MAX_LABELS]
    assert (
        len(reports.as_csv([Report(classifier, classification.scores(labels, outcomes))]).splitlines()) == 1 + 4 + 100
    )
