"""Folders of images and masks as people have them: what is read, what is left out by name, and what is refused."""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.measure.accuracy import datasets
from service.measure.accuracy.subjects import Subject
from service.models.cards import CardError
from service.tasks.scoring_base import Dataset
from tests.measure.accuracy.made_datasets import fake_classifier, fake_segmenter, made_subject

JPEG = b"\xff\xd8\xff\xe0" + bytes(20)
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
ORIENTATION = 0x0112


def files(root: Path, *names: str, data: bytes = JPEG) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def grey(root: Path, name: str, rows: object, mode: str | None = None, **options: Any) -> Path:
    """Write a mask of these rows and, if it has no image, one of its size."""
    array = np.array(rows, np.uint8)
    mask, image = root / "masks" / name, root / "images" / f"{Path(name).stem}.jpg"
    for path in (mask, image):
        path.parent.mkdir(parents=True, exist_ok=True)
    drawn = Image.fromarray(array)
    (drawn.convert(mode) if mode else drawn).save(mask, **options)
    if not image.exists():
        Image.new("RGB", (array.shape[1], array.shape[0])).save(image)
    return root


@pytest.fixture
def classifier(tmp_path: Path) -> Subject:
    return made_subject(tmp_path, "tiny-classifier", fake_classifier)


@pytest.fixture
def segmenter(tmp_path: Path) -> Subject:
    return made_subject(tmp_path, "tiny-segmenter", fake_segmenter)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "photos"


def used(data: Dataset) -> list[str]:
    return sorted(os.path.relpath(image.path, data.root) for image in data.images)


def left_out(data: Dataset) -> dict[str, str]:
    return {os.path.relpath(each.path, data.root): each.reason for each in data.left_out}


def dead_link(root: Path) -> None:
    files(root, "cat/a.jpg").joinpath("cat/b.jpg").symlink_to("nowhere.jpg")


def loop(root: Path) -> None:
    files(root, "cat/a.jpg").joinpath("cat/again").symlink_to("..")


Make = Callable[[Path], object]
# What a folder has, the images that are used, and the files that are left out with a part of the reason.
FOLDERS: dict[str, tuple[Make, list[str], dict[str, str]]] = {
    "a folder in a label's folder": (lambda r: files(r, "cat/sub/b.jpg"), ["cat/sub/b.jpg"], {}),
    "a suffix of Windows": (lambda r: files(r, "cat/a.jfif", "cat/b"), ["cat/a.jfif", "cat/b"], {}),
    "other files": (
        lambda r: files(files(r, "cat/a.jpg"), "cat/notes.txt", data=b"hello"),
        ["cat/a.jpg"],
        {"cat/notes.txt": "not an image"},
    ),
    "folders of tools": (
        lambda r: files(
            r, "cat/a.jpg", ".ipynb_checkpoints/a.jpg", "@eaDir/a.jpg", "__MACOSX/cat/a.jpg", "cat/Thumbs.db"
        ),
        ["cat/a.jpg"],
        dict.fromkeys((".ipynb_checkpoints", "@eaDir", "__MACOSX", "cat/Thumbs.db"), "hidden or of a tool"),
    ),
    "an image beside the labels' folders": (
        lambda r: files(r, "cat/a.jpg", "b.jpg"),
        ["cat/a.jpg"],
        {"b.jpg": "in no folder of a label"},
    ),
    "a dead link": (dead_link, ["cat/a.jpg"], {"cat/b.jpg": "links to a file that does not exist, nowhere.jpg"}),
    "a link to the folder itself": (loop, ["cat/a.jpg"], {"cat/again": "a folder that is listed already"}),
    "a name that is not UTF-8": (lambda r: files(r, "cat/caf\udce9.jpg"), ["cat/caf\udce9.jpg"], {}),
    "decomposed names": (
        lambda r: (
            grey(r, f"{COMPOSED}.png", [[0, 1]])
            .joinpath(f"masks/{COMPOSED}.png")
            .rename(r / "masks" / f"{DECOMPOSED}.png")
        ),
        [f"images/{COMPOSED}.jpg"],
        {},
    ),
    "a suffix in capitals": (
        lambda r: grey(r, "x.PNG", [[0, 1]]).joinpath("images/x.jpg").rename(r / "images/x.JPG"),
        ["images/x.JPG"],
        {},
    ),
    "masks that say what they are": (
        lambda r: (
            grey(files(r, "images/x.jpg", data=b""), "x_mask.png", [[0, 1]]).joinpath("images/x_mask.jpg").unlink()
        ),
        ["images/x.jpg"],
        {},
    ),
    "an image without a mask and a mask without an image": (
        lambda r: grey(files(r, "images/b.jpg", "masks/c.png"), "a.png", [[0, 1]]),
        ["images/a.jpg"],
        {"images/b.jpg": "has no mask", "masks/c.png": "a mask without an image"},
    ),
    "a mask of another size": (
        lambda r: Image.new("L", (5, 5)).save(grey(grey(r, "a.png", [[0, 1]]), "b.png", [[1]]) / "masks/b.png"),
        ["images/a.jpg"],
        {"images/b.jpg": "is 5 x 5, and the image 1 x 1"},
    ),
    "a damaged mask": (
        lambda r: files(grey(grey(r, "a.png", [[0, 1]]), "b.png", [[0, 1]]), "masks/b.png", data=b"\x89PNG"),
        ["images/a.jpg"],
        {"images/b.jpg": "cannot be read"},
    ),
    "a mask without any class beside a good one": (
        lambda r: grey(grey(r, "a.png", [[0, 1]]), "b.png", [[255, 255]]),
        ["images/a.jpg"],
        {"images/b.jpg": "no pixel of its mask has a class"},
    ),
    "a mask that JPEG changed": (
        lambda r: grey(grey(r, "a.png", [[0, 1]]), "b.jpg", [[0, 1]]),
        ["images/a.jpg"],
        {"images/b.jpg": "JPEG, whose compression changes class ids"},
    ),
    "a mask in colours": (
        lambda r: Image.new("RGB", (2, 1), "red").save(
            grey(grey(r, "a.png", [[0, 1]]), "b.png", [[0, 1]]) / "masks/b.png"
        ),
        ["images/a.jpg"],
        {"images/b.jpg": "is RGB"},
    ),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_what_can_be_scored_is_used_and_the_rest_is_left_out_by_name(root: Path, what: str) -> None:
    make, expected, reasons = FOLDERS[what]
    make(root)
    data = datasets.read(root)
    assert used(data) == expected
    found = left_out(data)
    assert found.keys() == reasons.keys()
    assert all(reason in found[name] for name, reason in reasons.items()), found


LABELS: dict[str, list[str]] = {
    "another case": ["Cat/a.jpg", "DOG/b.jpg"],
    "blanks": ["cat /a.jpg", " dog/b.jpg"],
    "the label itself": ["cat/a.jpg", "dog/b.jpg"],
}


@pytest.mark.parametrize("what", LABELS)
def test_a_folder_means_the_label_that_it_can_only_mean(classifier: Subject, root: Path, what: str) -> None:
    files(root, *LABELS[what])
    images = classifier.scoring.usable(classifier, datasets.read(root))
    assert sorted(image.label for image in images) == ["cat", "dog"]


def test_folders_of_no_label_are_listed_with_counts_and_left_out_on_request(classifier: Subject, root: Path) -> None:
    files(root, "cat/a.jpg", "unsorted/b.jpg", "unsorted/c.jpg", "misc/d.jpg")
    with pytest.raises(CardError, match=r"images of 'unsorted' \(2\), 'misc' \(1\); .*--skip-unknown"):
        classifier.scoring.usable(classifier, datasets.read(root))
    images = classifier.scoring.usable(classifier, datasets.read(root, skip_unknown=True))
    assert [image.label for image in images] == ["cat"]


REFUSED: dict[str, tuple[Make, str]] = {
    "masks drawn with 255": (
        lambda r: grey(grey(r, "a.png", [[0, 255]]), "b.png", [[0, 0]]),
        r"only the values 0 and 255, and 255 means no class; .*--values 255=1",
    ),
    "masks of 255 alone": (lambda r: grey(r, "a.png", [[255, 255]]), "only the value 255.*--values 255=1"),
    "masks drawn with grey levels": (
        lambda r: grey(grey(r, "a.png", [[0, 128]]), "b.png", [[0, 1]]),
        r"1 masks in .* have the values 128, and tiny-segmenter has 3 classes; .*--values 128=1.*--skip-unknown",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_masks_whose_values_are_no_class_ids_are_refused_before_scoring_with_the_cure(
    segmenter: Subject, root: Path, what: str
) -> None:
    make, message = REFUSED[what]
    make(root)
    with pytest.raises(CardError, match=message):
        segmenter.scoring.usable(segmenter, datasets.read(root))


# How a mask of the classes 0 and 1 may be stored, and the values that must be stated.
STORED: dict[str, tuple[Make, dict[int, int] | None]] = {
    "grey": (lambda r: grey(r, "a.png", [[0, 1]]), None),
    "bilevel": (lambda r: grey(r, "a.png", [[0, 255]], "1"), None),
    "grey of 2 bits": (lambda r: grey(r, "a.png", [[0, 85]], bits=2), None),
    "bilevel TIFF": (lambda r: grey(r, "a.tif", [[0, 255]], "1"), None),
    "indexed": (lambda r: grey(r, "a.png", [[0, 1]], "P"), None),
    "drawn with 255, as stated": (lambda r: grey(r, "a.png", [[0, 255]]), {255: 1}),
    "drawn with 128, as stated": (lambda r: grey(r, "a.png", [[0, 128]]), {128: 1}),
}


@pytest.mark.parametrize("how", STORED)
def test_a_mask_has_the_same_classes_however_it_is_stored(segmenter: Subject, root: Path, how: str) -> None:
    make, values = STORED[how]
    make(root)
    (image,) = segmenter.scoring.usable(segmenter, datasets.read(root, values=values))
    assert image.class_ids().tolist() == [[0, 1]]


def test_255_that_is_stated_to_be_no_class_is_ignored(segmenter: Subject, root: Path) -> None:
    grey(root, "a.png", [[0, 255]])
    (image,) = segmenter.scoring.usable(segmenter, datasets.read(root, values={255: 255}))
    assert image.class_ids().tolist() == [[0, 255]]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_of_the_stored_size_is_turned_as_its_image_is_and_noted(root: Path, orientation: int) -> None:
    values = np.array([[0, 1, 2], [2, 0, 1]], np.uint8)
    grey(root, "a.png", values)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    turned = Image.new("RGB", (3, 2))
    turned.save(root / "images" / "a.jpg", exif=exif)
    data = datasets.read(root)
    as_decoded = {
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    expected = np.asarray(Image.fromarray(values).transpose(as_decoded[orientation]))
    assert data.images[0].class_ids().tolist() == expected.tolist()
    assert [(each.path.name, "turned alike" in each.reason) for each in data.notes] == [("a.png", True)]


def test_a_mask_of_the_upright_size_is_not_turned(root: Path) -> None:
    grey(root, "a.png", [[0, 1, 2], [2, 0, 1]])
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.new("RGB", (2, 3)).save(root / "images" / "a.jpg", exif=exif)
    data = datasets.read(root)
    assert data.images[0].class_ids().tolist() == [[0, 1, 2], [2, 0, 1]]
    assert not data.notes


@pytest.mark.parametrize("splits", [("train", "val"), ("Train", "test", "valid")])
def test_folders_of_splits_are_named_until_one_is_chosen(root: Path, splits: tuple[str, ...]) -> None:
    files(root, *(f"{split}/{label}/a.jpg" for split in splits for label in ("cat", "dog")))
    with pytest.raises(CardError, match=rf"has the splits {', '.join(splits)}; choose one with --split"):
        datasets.read(root)
    assert used(datasets.read(root, split=splits[1])) == [f"{splits[1]}/cat/a.jpg", f"{splits[1]}/dog/a.jpg"]
    with pytest.raises(CardError, match=f"there is no folder other; there are {', '.join(splits)}"):
        datasets.read(root, split="other")


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("image;label;split;mask;mask_kind\na.jpg;cat;test;;\n", ["no column image, label, split", "separated by ';'"]),
        ("image,label\na.jpg,cat\n", ["no column split, mask, mask_kind"]),
        ("image,label,split,mask,mask_kind\na.jpg,cat,val,,\n", ["no row of the split test", "--split: val"]),
    ],
)
def test_an_index_that_lacks_something_is_refused_with_what_was_found(
    root: Path, text: str, messages: list[str]
) -> None:
    files(root, "index.csv", data=text.encode())
    with pytest.raises(CardError) as caught:
        datasets.read(root)
    assert all(message in str(caught.value) for message in messages), caught.value


def test_an_index_with_a_byte_order_mark_is_read(root: Path) -> None:
    files(root, "a.jpg")
    files(root, "index.csv", data="image,label,split,mask,mask_kind\r\na.jpg, cat ,test,,\r\n".encode("utf-8-sig"))
    assert [image.label for image in datasets.read(root).images] == ["cat"]
