"""Runs of fake models over data sets, and runs that continue after they were stopped."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.measure.accuracy import runs
from service.measure.accuracy.runs import Outcome
from service.measure.accuracy.subjects import Subject
from service.models.cards import CardError
from service.tasks.classification.scoring import ClassificationScores
from service.tasks.scoring_base import Dataset, LabelledImage, PipelineOutput, RejectedImage, TrueInstance
from service.tasks.segmentation.scoring import SegmentationScores
from tests.measure.accuracy.made_datasets import (
    CORRUPT,
    fake_classifier,
    fake_detector,
    labelled,
    masked,
    with_object,
)


def classified(subject: Subject, images: Sequence[LabelledImage]) -> ClassificationScores:
    found = runs.scores(subject, runs.outcomes(subject, images, subject.open()))
    assert isinstance(found, ClassificationScores)
    return found


def segmented(subject: Subject, images: Sequence[LabelledImage]) -> SegmentationScores:
    found = runs.scores(subject, runs.outcomes(subject, images, subject.open()))
    assert isinstance(found, SegmentationScores)
    return found


def test_top_1_counts_the_likeliest_label(classifier: Subject, tmp_path: Path) -> None:
    images = labelled(tmp_path, ("cat", 0), ("cat", 1), ("cat", 0), ("cat", 0), ("dog", 1), ("tulip", 5))
    score = classified(classifier, images)
    assert score.images == 6
    assert score.top1 == pytest.approx(4 / 6)
    assert score.recall == pytest.approx({"cat": 3 / 4, "dog": 1, "tulip": 0})
    assert score.confusion[0][:2] == (3, 1)
    assert score.confusion[6][5] == 1


def counting(batches: list[int], subject: Subject) -> Subject:
    def counted(*uploads: bytes) -> list[PipelineOutput]:
        batches.append(len(uploads))
        return fake_classifier(*uploads)

    return replace(subject, open=lambda: counted)


def test_more_photos_than_a_batch_are_all_counted(classifier: Subject, tmp_path: Path) -> None:
    batches: list[int] = []
    images = labelled(tmp_path, *[("dog", 1)] * 19)
    assert classified(counting(batches, classifier), images).confusion[1][1] == 19
    assert batches == [8, 8, 3]


def test_masks_are_compared_pixel_by_pixel_over_all_pictures(segmenter: Subject, tmp_path: Path) -> None:
    images = [
        masked(tmp_path, true=[[0, 0, 1, 1], [0, 0, 1, 255]], found=[[0, 0, 1, 1], [0, 1, 0, 2]]),
        masked(tmp_path, true=[[0, 0, 0, 0], [1, 1, 1, 1]], found=[[0, 0, 0, 0], [1, 1, 2, 2]]),
    ]
    score = segmented(segmenter, images)
    assert score.images == 2
    # background: 7 in both, 8 true, 8 found; cat: 4 in both, 7 true, 5 found; dog: none in both, 2 found
    assert score.iou == pytest.approx({"background": 7 / 9, "cat": 4 / 8, "dog": 0})
    assert score.mean_iou == pytest.approx((7 / 9 + 4 / 8 + 0) / 3)
    assert score.foreground_iou == pytest.approx(6 / 8)
    assert score.pixel_accuracy == pytest.approx(11 / 15)


@pytest.mark.parametrize(
    ("true", "words"), [([[0, 0, 9, 0]] * 2, "the class 9"), ([[0, 0, 0]], r"is \(1, 3\), and its image \(2, 4\)")]
)
def test_a_mask_that_cannot_belong_to_its_picture_is_refused(
    segmenter: Subject, tmp_path: Path, true: list[list[int]], words: str
) -> None:
    image = masked(tmp_path, true, found=[[0, 0, 0, 0]] * 2)
    with pytest.raises(CardError, match=words):
        segmented(segmenter, [image])


def test_a_picture_that_is_refused_is_told_and_its_neighbours_are_counted(classifier: Subject, tmp_path: Path) -> None:
    images = labelled(tmp_path, ("cat", 0), ("cat", CORRUPT), ("dog", 1))
    found = list(runs.outcomes(classifier, images, fake_classifier))
    assert found[1] == RejectedImage(str(images[1].path), "image_corrupt")
    scores = runs.scores(classifier, found)
    assert (scores.images, len(found)) == (2, 3)
    with pytest.raises(CardError, match="no image could be read"):
        runs.scores(classifier, found[1:2])


def test_a_file_that_is_gone_is_counted_and_its_neighbours_are_scored(classifier: Subject, tmp_path: Path) -> None:
    images = [*labelled(tmp_path, ("cat", 0)), LabelledImage(tmp_path / "gone.jpg", "cat")]
    found = list(runs.outcomes(classifier, images, fake_classifier))
    assert found[1] == RejectedImage(str(tmp_path / "gone.jpg"), "cannot be read: No such file or directory")
    assert runs.scores(classifier, found).images == 1


def test_an_image_whose_name_is_not_utf_8_is_named_by_valid_unicode(classifier: Subject, tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9.jpg"
    path.write_bytes(bytes([CORRUPT]))
    (outcome,) = runs.outcomes(classifier, [LabelledImage(path, "cat")], fake_classifier)
    assert outcome.image.endswith("caf\\xe9.jpg")


def test_only_pictures_that_know_what_the_task_is_about_are_used(
    classifier: Subject, segmenter: Subject, tmp_path: Path
) -> None:
    images = (*labelled(tmp_path, ("cat", 0)), masked(tmp_path, [[0] * 4] * 2, [[0] * 4] * 2))
    dataset = Dataset(tmp_path, "index", images)
    assert classifier.scoring.usable(classifier, dataset) == [images[0]]
    assert segmenter.scoring.usable(segmenter, dataset) == [images[1]]


def test_a_data_set_that_the_model_does_not_fit_is_refused(
    classifier: Subject, segmenter: Subject, tmp_path: Path
) -> None:
    image = masked(tmp_path, [[0] * 4] * 2, [[0] * 4] * 2)
    strange = labelled(tmp_path, ("horse", 0), ("donkey", 0), ("cat", 0))
    for subject, dataset, told in (
        (segmenter, Dataset(tmp_path, "voc", (image,), 21), r"has 21 classes \(voc\), and tiny-segmenter 3"),
        (segmenter, Dataset(tmp_path, "folders", tuple(strange)), "has no image with a mask"),
        (classifier, Dataset(tmp_path, "pairs", (image,)), "has no image with a label"),
        (
            classifier,
            Dataset(tmp_path, "folders", tuple(strange)),
            "has images of 'horse' \\(1\\), 'donkey' \\(1\\); tiny-classifier has no label, or several, of that name",
        ),
    ):
        with pytest.raises(CardError, match=told):
            subject.scoring.usable(subject, dataset)


class StoppedError(Exception):
    """Raised to end a run in the middle."""


def test_a_run_that_was_stopped_goes_on_where_it_was(classifier: Subject, tmp_path: Path) -> None:
    images = labelled(tmp_path, *[("cat", index % 2) for index in range(10)])
    journal, batches, told = tmp_path / "journal.jsonl", list[int](), list[int]()

    def stops(*uploads: bytes) -> list[PipelineOutput]:
        if len(batches) == 1:
            raise StoppedError
        batches.append(len(uploads))
        return fake_classifier(*uploads)

    with pytest.raises(StoppedError):
        runs.resumable(replace(classifier, open=lambda: stops), images, tmp_path, journal, told.append)
    with journal.open("a", encoding="utf-8") as file:
        file.write('["ClassificationOutcome", {"image": "cut o')
    batches.clear()
    found = runs.resumable(counting(batches, classifier), images, tmp_path, journal, told.append)
    assert batches == [2]
    assert told == [0, *[1] * 8, 8, 1, 1]
    assert found == list(runs.outcomes(classifier, images, fake_classifier))


def never() -> list[Outcome]:
    raise AssertionError("the model was loaded")


def test_a_run_that_is_complete_loads_no_model(classifier: Subject, segmenter: Subject, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    mask = masked(tmp_path / "masks", [[0, 0, 1, 255]] * 2, [[0, 2, 1, 1]] * 2)
    for subject, images in ((classifier, labelled(tmp_path, ("cat", 0), ("cat", CORRUPT))), (segmenter, [mask])):
        journal = tmp_path / f"{subject.name}.jsonl"
        first = runs.resumable(subject, images, tmp_path, journal, lambda _: None)
        again = runs.resumable(replace(subject, open=never), images, tmp_path, journal, lambda _: None)  # type: ignore[arg-type]
        assert again == first


@pytest.mark.parametrize("change", [{"identity": "other weights"}, {"version": "2.0"}, {"name": "another"}])
def test_the_answers_of_another_model_are_not_overwritten(
    classifier: Subject, tmp_path: Path, change: dict[str, Any]
) -> None:
    images, journal = labelled(tmp_path, *[("cat", 0)] * 3), tmp_path / "journal.jsonl"
    runs.resumable(classifier, images, tmp_path, journal, lambda _: None)
    is_refused(replace(classifier, **change), images, journal)
    is_refused(classifier, images[:2], journal)


def is_refused(subject: Subject, images: Sequence[LabelledImage], journal: Path) -> None:
    """Check that a run is refused with a sentence, before its model is loaded, and that the journal is as before."""
    before = journal.read_bytes()
    with pytest.raises(
        CardError, match=r"has the answers of another run, with a difference in .*; name another folder"
    ):
        runs.resumable(replace(subject, open=never), images, journal.parent, journal, lambda _: None)  # type: ignore[arg-type]
    with pytest.raises(CardError, match="another run"):
        runs.require_same(subject, images, journal.parent, journal)
    assert journal.read_bytes() == before


def corrected(subject: Subject) -> Subject:
    """Return the subject with its first two labels exchanged."""
    cat, dog, *others = subject.classes
    classes = (cat.model_copy(update={"label": "dog"}), dog.model_copy(update={"label": "cat"}), *others)
    return replace(subject, classes=classes)


def test_a_run_before_the_models_labels_were_corrected_is_another_one(classifier: Subject, tmp_path: Path) -> None:
    images, journal = labelled(tmp_path, ("cat", 0), ("dog", 0)), tmp_path / "journal.jsonl"
    runs.resumable(classifier, images, tmp_path, journal, lambda _: None)
    is_refused(corrected(classifier), images, journal)


def test_a_run_before_the_labels_of_images_were_corrected_is_another_one(classifier: Subject, tmp_path: Path) -> None:
    images, journal = labelled(tmp_path, ("cat", 0), ("dog", 0)), tmp_path / "journal.jsonl"
    runs.resumable(classifier, images, tmp_path, journal, lambda _: None)
    is_refused(classifier, [images[0], replace(images[1], label="cat")], journal)


def test_a_run_before_masks_were_corrected_is_another_one(segmenter: Subject, tmp_path: Path) -> None:
    image, journal = masked(tmp_path, [[0] * 4] * 2, [[1] * 4] * 2), tmp_path / "journal.jsonl"
    runs.resumable(segmenter, [image], tmp_path, journal, lambda _: None)
    assert image.mask
    written = image.mask.stat().st_mtime_ns
    Image.fromarray(np.full((2, 4), 1, np.uint8)).save(image.mask)
    os.utime(image.mask, ns=(written, written + 1))
    for better in (image, replace(image, values=(2, 0, *range(2, 256)))):
        is_refused(segmenter, [better], journal)


def test_the_outcomes_of_a_detector_are_read_from_the_journal_as_they_were(detector: Subject, tmp_path: Path) -> None:
    images, journal = [with_object(tmp_path, TrueInstance("cat", (0, 0, 4, 1), 4), 0)], tmp_path / "journal.jsonl"
    first = runs.resumable(detector, images, tmp_path, journal, lambda _: None)
    again = runs.resumable(replace(detector, open=never), images, tmp_path, journal, lambda _: None)  # type: ignore[arg-type]
    assert again == first == list(runs.outcomes(detector, images, fake_detector))


def test_a_run_before_objects_were_corrected_is_another_one(detector: Subject, tmp_path: Path) -> None:
    image, journal = with_object(tmp_path, TrueInstance("cat", (0, 0, 4, 1), 4), 0), tmp_path / "journal.jsonl"
    runs.resumable(detector, [image], tmp_path, journal, lambda _: None)
    for true in (TrueInstance("dog", (0, 0, 4, 1), 4), TrueInstance("cat", (0, 0, 4, 2), 8)):
        is_refused(detector, [replace(image, instances=(true,))], journal)


def test_a_run_before_an_image_was_replaced_is_another_one(classifier: Subject, tmp_path: Path) -> None:
    images, journal = labelled(tmp_path, ("cat", 0), ("dog", 0)), tmp_path / "journal.jsonl"
    runs.resumable(classifier, images, tmp_path, journal, lambda _: None)
    images[1].path.write_bytes(bytes([1, 1]))
    is_refused(classifier, images, journal)


def test_a_file_that_is_missing_is_told_before_the_model_is_asked(classifier: Subject, tmp_path: Path) -> None:
    images = [*labelled(tmp_path, ("cat", 0)), LabelledImage(tmp_path / "gone.jpg", "cat")]
    with pytest.raises(CardError, match=r"gone\.jpg cannot be read"):
        runs.resumable(replace(classifier, open=never), images, tmp_path, None, lambda _: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"no json\n", b"[]\n"])
def test_a_journal_that_is_none_is_written_anew(classifier: Subject, tmp_path: Path, content: bytes) -> None:
    images, journal = labelled(tmp_path, ("cat", 0)), tmp_path / "journal.jsonl"
    journal.write_bytes(content)
    assert len(runs.resumable(classifier, images, tmp_path, journal, lambda _: None)) == 1
    assert len(journal.read_text(encoding="utf-8").splitlines()) == 2
