"""Scores, against counts made by hand and with a model that is made up."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service import cards, evaluation
from service.cards import CardError, ModelCard
from service.evaluation import Classification, Photo
from service.pipeline import Answer
from tests.stores import write_store

HEADER = ("image", "label", "split", "mask", "mask_kind", "width", "height", "source")
SIZE = (4, 2)  # width and height of the pictures here


@pytest.fixture
def classifier(tmp_path: Path) -> ModelCard:
    """Seven labels, cat and dog first; evaluation asks `says` and loads no weights."""
    return cards.read(write_store(tmp_path / "store", "tiny-classifier", weights=False) / "tiny-classifier")


@pytest.fixture
def segmenter(tmp_path: Path) -> ModelCard:
    """Background, cat and dog."""
    return cards.read(write_store(tmp_path / "store", "tiny-segmenter", weights=False) / "tiny-segmenter")


def says(*uploads: bytes) -> list[Answer]:
    """A model that answers the class which is the upload's first byte."""
    return [Answer({"scores": np.eye(7, dtype=np.float32)[upload[0]]}, *SIZE) for upload in uploads]


def sees(*uploads: bytes) -> list[Answer]:
    """A model that answers the mask which the upload is."""
    return [Answer({"mask": np.frombuffer(each, np.uint8).reshape(SIZE[::-1])}, *SIZE) for each in uploads]


def labelled(folder: Path, *pairs: tuple[str, int]) -> list[Photo]:
    """Photos of true labels, and what `says` will say of them."""
    photos = []
    for place, (label, answer) in enumerate(pairs):
        path = folder / f"{place}.jpg"
        path.write_bytes(bytes([answer]))
        photos.append(Photo(path, label))
    return photos


def masked(folder: Path, true: list[list[int]], found: list[list[int]]) -> Photo:
    """A photo of a true mask, and what `sees` will see in it."""
    place = len(list(folder.glob("*.jpg")))
    picture, mask = folder / f"{place}.jpg", folder / f"{place}.png"
    picture.write_bytes(np.array(found, np.uint8).tobytes())
    Image.fromarray(np.array(true, np.uint8)).save(mask)
    return Photo(picture, mask=mask)


def test_top_1_counts_the_likeliest_label(classifier: ModelCard, tmp_path: Path) -> None:
    photos = labelled(tmp_path, ("cat", 0), ("cat", 1), ("cat", 0), ("cat", 0), ("dog", 1), ("tulip", 5))
    score = evaluation.classification(classifier, photos, says)
    assert score.pictures == 6
    assert score.top1 == pytest.approx(4 / 6)
    assert score.recall == pytest.approx({"cat": 3 / 4, "dog": 1, "tulip": 0})
    assert score.confusion[0][:2] == (3, 1)
    assert score.confusion[6][5] == 1


def test_more_photos_than_a_batch_are_all_counted(classifier: ModelCard, tmp_path: Path) -> None:
    batches: list[int] = []

    def counted(*uploads: bytes) -> list[Answer]:
        batches.append(len(uploads))
        return says(*uploads)

    photos = labelled(tmp_path, *[("dog", 1)] * 19)
    assert evaluation.classification(classifier, photos, counted).confusion[1][1] == 19
    assert batches == [8, 8, 3]


def test_a_label_that_the_model_has_not_is_refused(classifier: ModelCard, tmp_path: Path) -> None:
    with pytest.raises(CardError, match="'horse'"):
        evaluation.classification(classifier, labelled(tmp_path, ("horse", 0)), says)


def test_no_photos_have_no_score(classifier: ModelCard, segmenter: ModelCard, tmp_path: Path) -> None:
    with pytest.raises(CardError, match="no picture with a label"):
        evaluation.classification(classifier, [], says)
    with pytest.raises(CardError, match="no picture with a mask"):
        evaluation.segmentation(segmenter, labelled(tmp_path, ("cat", 0)), sees)


def test_masks_are_compared_pixel_by_pixel_over_all_pictures(segmenter: ModelCard, tmp_path: Path) -> None:
    photos = [
        masked(tmp_path, true=[[0, 0, 1, 1], [0, 0, 1, 255]], found=[[0, 0, 1, 1], [0, 1, 0, 2]]),
        masked(tmp_path, true=[[0, 0, 0, 0], [1, 1, 1, 1]], found=[[0, 0, 0, 0], [1, 1, 2, 2]]),
    ]
    score = evaluation.segmentation(segmenter, photos, sees)
    assert score.pictures == 2
    # background: 7 in both, 8 true, 8 found; cat: 4 in both, 7 true, 5 found; dog: none in both, 2 found
    assert score.iou == pytest.approx({"background": 7 / 9, "cat": 4 / 8, "dog": 0})
    assert score.mean_iou == pytest.approx((7 / 9 + 4 / 8 + 0) / 3)
    assert score.foreground_iou == pytest.approx(6 / 8)
    assert score.pixel_accuracy == pytest.approx(11 / 15)


def test_a_class_that_nobody_shows_or_finds_has_no_score(segmenter: ModelCard, tmp_path: Path) -> None:
    photo = masked(tmp_path, true=[[0, 0, 1, 1]] * 2, found=[[0, 0, 1, 1]] * 2)
    score = evaluation.segmentation(segmenter, [photo], sees)
    assert score.iou == {"background": 1, "cat": 1}
    assert score.mean_iou == 1


@pytest.mark.parametrize(
    ("true", "words"), [([[0, 0, 9, 0]] * 2, "the class 9"), ([[0, 0, 0]], r"is \(1, 3\), and its picture \(2, 4\)")]
)
def test_a_mask_that_cannot_belong_to_its_picture_is_refused(
    segmenter: ModelCard, tmp_path: Path, true: list[list[int]], words: str
) -> None:
    photo = masked(tmp_path, true, found=[[0, 0, 0, 0]] * 2)
    with pytest.raises(CardError, match=words):
        evaluation.segmentation(segmenter, [photo], sees)


def test_the_index_gives_one_split_and_only_true_masks(tmp_path: Path) -> None:
    rows = [
        ("a.jpg", "cat", "test", "a.png", "trimap"),
        ("b.jpg", "dog", "test", "b.png", "polygon"),
        ("c.jpg", "rose", "test", "", ""),
        ("d.jpg", "rose", "train", "", ""),
    ]
    with (tmp_path / "index.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, *((*row, 1, 1, "x") for row in rows)])
    assert evaluation.starter_photos(tmp_path) == [
        Photo(tmp_path / "a.jpg", "cat", tmp_path / "a.png"),
        Photo(tmp_path / "b.jpg", "dog"),
        Photo(tmp_path / "c.jpg", "rose"),
    ]
    assert [photo.label for photo in evaluation.starter_photos(tmp_path, "train")] == ["rose"]


def test_an_index_without_its_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("image,label\na.jpg,cat\n", encoding="utf-8")
    with pytest.raises(CardError, match=r"index\.csv cannot be read"):
        evaluation.starter_photos(tmp_path)
    with pytest.raises(CardError, match=r"index\.csv cannot be read"):
        evaluation.starter_photos(tmp_path / "none")


def test_a_folder_for_each_label_needs_no_index(tmp_path: Path) -> None:
    for name in ("dog/1.jpg", "cat/2.jpg", "cat/.hidden", "readme.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert evaluation.labelled_folders(tmp_path) == [
        Photo(tmp_path / "cat" / "2.jpg", "cat"),
        Photo(tmp_path / "dog" / "1.jpg", "dog"),
    ]


def test_the_share_of_right_answers_is_that_of_the_confusions_diagonal() -> None:
    score = Classification(("a", "b"), ((8, 2), (1, 9)))
    assert score.top1 == pytest.approx(0.85)
