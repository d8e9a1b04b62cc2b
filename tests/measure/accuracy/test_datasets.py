"""Reading data sets in the layouts in which they are published."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.measure.accuracy import datasets
from service.models.cards import CardError
from service.tasks.scoring_base import Dataset, LabelledImage

HEADER = ("image", "label", "split", "mask", "mask_kind", "width", "height", "source")


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def mask(path: Path, *values: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array([values], np.uint8)).save(path)
    return path


def test_a_folder_for_each_label_is_read_where_nothing_else_fits(tmp_path: Path) -> None:
    touch(tmp_path, "dog/1.heic", "cat/2.PNG", "cat/.hidden.jpg", "cat/notes.txt", "readme.txt")
    assert datasets.read(tmp_path) == Dataset(
        tmp_path,
        "folders",
        (LabelledImage(tmp_path / "cat/2.PNG", "cat"), LabelledImage(tmp_path / "dog/1.heic", "dog")),
    )


def test_an_index_gives_one_split_and_only_exact_masks(tmp_path: Path) -> None:
    rows = [
        ("a.jpg", "cat", "test", "a.png", "trimap"),
        ("b.jpg", "dog", "test", "b.png", "polygon"),
        ("c.jpg", "rose", "test", "", ""),
        ("d.jpg", "rose", "train", "", ""),
    ]
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    mask(tmp_path / "a.png", 0, 1)
    with (tmp_path / "index.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, *((*row, 1, 1, "x") for row in rows)])
    assert datasets.read(tmp_path).images == (
        LabelledImage(tmp_path / "a.jpg", "cat", tmp_path / "a.png"),
        LabelledImage(tmp_path / "b.jpg", "dog"),
        LabelledImage(tmp_path / "c.jpg", "rose"),
    )
    assert [image.label for image in datasets.read(tmp_path, split="train").images] == ["rose"]


@pytest.mark.parametrize("home", ["", "val", "ILSVRC/Data/CLS-LOC/val", "Data/CLS-LOC/val"])
def test_imagenet_is_read_from_folders_of_wordnet_ids(tmp_path: Path, home: str) -> None:
    touch(tmp_path / home, "n01440764/a.JPEG", "n02012849/b.JPEG")
    found = datasets.read(tmp_path)
    assert found.layout == "imagenet"
    assert [image.label for image in found.images] == ["n01440764", "n02012849"]


def test_imagenet_is_read_from_one_folder_and_the_table_of_its_ids(tmp_path: Path) -> None:
    touch(tmp_path, "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000007.JPEG")
    tmp_path.joinpath("LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\nILSVRC2012_val_00000007,n02012849 1 2 3 4 n02012849 5 6 7 8 \n", encoding="utf-8"
    )
    (image,) = datasets.read(tmp_path).images
    assert (image.path.is_file(), image.label) == (True, "n02012849")


def test_ade20ks_masks_count_from_one_and_zero_is_unlabelled(tmp_path: Path) -> None:
    touch(tmp_path, "images/validation/a.jpg", "images/training/b.jpg", "images/validation/without.jpg")
    mask(tmp_path / "annotations/validation/a.png", 0, 1, 150)
    found = datasets.read(tmp_path)
    assert (found.layout, found.classes) == ("ade20k", 150)
    assert [image.class_ids().tolist() for image in found.images] == [[[255, 0, 149]]]


def test_cityscapes_label_ids_become_train_ids(tmp_path: Path) -> None:
    touch(tmp_path, "leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png")
    mask(tmp_path / "gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png", 0, 7, 8, 11, 26, 29, 33, 255)
    found = datasets.read(tmp_path)
    assert (found.layout, found.classes) == ("cityscapes", 19)
    assert found.images[0].class_ids().tolist() == [[255, 0, 1, 2, 13, 255, 18, 255]]


def test_the_label_ids_of_cityscapes_are_those_of_the_stores_label_set() -> None:
    path = Path(__file__).parents[3] / "model_store" / "labels" / "cityscapes_19.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert tuple(int(row["label_id"]) for row in rows) == datasets.CITYSCAPES_IDS


def test_pascal_voc_is_read_by_its_list(tmp_path: Path) -> None:
    touch(tmp_path, "JPEGImages/a.jpg", "JPEGImages/b.jpg")
    tmp_path.joinpath("ImageSets/Segmentation").mkdir(parents=True)
    tmp_path.joinpath("ImageSets/Segmentation/val.txt").write_text("b\n", encoding="utf-8")
    path = tmp_path / "SegmentationClass" / "b.png"
    path.parent.mkdir()
    indexed = Image.new("P", (3, 1))
    indexed.putpalette(bytes(range(256)) * 3)
    indexed.putdata([0, 20, 255])
    indexed.save(path)
    found = datasets.read(tmp_path)
    assert (found.layout, found.classes, len(found.images)) == ("voc", 21, 1)
    assert found.images[0].class_ids().tolist() == [[0, 20, 255]]


def test_another_list_of_pascal_voc_is_named_until_it_is_chosen(tmp_path: Path) -> None:
    """CVAT exports the list `default` (cvat-ai/cvat#2032)."""
    touch(tmp_path, "JPEGImages/b.jpg", "ImageSets/Segmentation/default.txt")
    (tmp_path / "ImageSets/Segmentation/default.txt").write_text("b\n", encoding="utf-8")
    mask(tmp_path / "SegmentationClass/b.png", 0, 20)
    with pytest.raises(CardError, match=r"there is no ImageSets/Segmentation/val\.txt; .*--split: default"):
        datasets.read(tmp_path)
    assert len(datasets.read(tmp_path, split="default").images) == 1


def test_pictures_and_masks_of_one_name_are_pairs(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/b.jpg")
    mask(tmp_path / "masks/b.png", 0, 3)
    found = datasets.read(tmp_path)
    assert [(image.path.name, image.class_ids().tolist()) for image in found.images] == [("b.jpg", [[0, 3]])]


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("index", "is not a data set of the layout index"),
        ("voc", r"is not a data set of the layout voc: .*ImageSets/Segmentation/val\.txt; .*--split: none"),
        ("imagenet", "is not a data set of the layout imagenet"),
        ("ade20k", "has no image of the layout ade20k"),
        (None, "has no image of the layout folders"),
    ],
)
def test_a_folder_that_is_no_such_data_set_is_refused(tmp_path: Path, layout: str | None, message: str) -> None:
    with pytest.raises(CardError, match=message):
        datasets.read(tmp_path, layout)


def test_images_without_folders_of_labels_are_refused_with_the_way_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    told = "has no image of the layout folders; make a folder for each label in it; left out: .*in no folder of a label"
    with pytest.raises(CardError, match=told):
        datasets.read(tmp_path)


def test_an_index_without_its_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("image,label\na.jpg,cat\n", encoding="utf-8")
    with pytest.raises(CardError, match="is not a data set of the layout index"):
        datasets.read(tmp_path)
