"""Read labelled images from disk, in the layouts in which data sets are published."""

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.measure.accuracy import coco, ground_truth, listing
from service.models import text_file
from service.models.cards import CardError
from service.models.text_file import TextError
from service.tasks.scoring_base import IGNORED, UNCHANGED, Dataset, LabelledImage, MaskValues, Remark

WNID = re.compile(r"n\d{8}")
IMAGENET_TABLE = "LOC_val_solution.csv"
INDEX_COLUMNS: Final = ("image", "label", "split", "mask", "mask_kind")
SPLITS: Final = frozenset(("train", "training", "val", "valid", "validation", "test", "testing"))
SHOWN: Final = 20  # names of files in a message
# The 19 classes of Cityscapes among the values of its `labelIds` masks, in the order of their train ids.
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33)
FROM_ONE: Final[MaskValues] = (IGNORED, *range(255))  # 0 is unlabelled
FROM_LABEL_IDS: Final[MaskValues] = tuple(
    CITYSCAPES_IDS.index(value) if value in CITYSCAPES_IDS else IGNORED for value in range(256)
)


Found = list[LabelledImage]


@dataclass(frozen=True)
class Layout:
    """A layout of data sets: how to recognise and read it, its validation split, and the classes of its masks.

    `read` gets the folder, the split, and a list to which it adds every file that it leaves out.
    """

    fits: Callable[[Path], bool]
    read: Callable[[Path, str, list[Remark]], Found]
    split: str = ""
    classes: int | None = None


def read(
    root: Path,
    layout: str | None = None,
    split: str | None = None,
    values: Mapping[int, int] | None = None,
    *,
    skip_unknown: bool = False,
) -> Dataset:
    """Return the data set in a folder. Its layout is recognised by its files if none is given.

    `values` has class ids of mask values, which replace those of the layout. Every image and mask is checked here, and
    what cannot be scored is in `left_out`. Raises `CardError` if a file that the layout needs is missing or has another
    form, or if no image is left.
    """
    chosen = layout or next(name for name, each in LAYOUTS.items() if each.fits(root))
    rules = LAYOUTS[chosen]
    left_out: list[Remark] = []
    try:
        images = rules.read(root, split or rules.split, left_out)
    except (OSError, TextError, csv.Error) as error:
        raise CardError(f"{root} is not a data set of the layout {chosen}: {error}") from error
    if values and not any(image.mask for image in images):
        raise CardError(f"{root} has no masks in the layout {chosen}, so --values would have no effect")
    checked = ground_truth.check(images, values)
    left_out += checked.left_out
    if not checked.images and not checked.mask_problem:
        lines = "; ".join(listing.summary(left_out, root, SHOWN))
        where = f"{chosen}{f', split {split}' if split else ''}"
        way_out = "; make a folder for each label in it" if chosen == "folders" else ""
        raise CardError(f"{root} has no image of the layout {where}{way_out}{'; left out: ' if lines else ''}{lines}")
    return Dataset(
        root,
        chosen,
        tuple(checked.images or images),
        rules.classes,
        tuple(left_out),
        tuple(checked.notes),
        checked.mask_problem,
        skip_unknown,
    )


def _index(root: Path, split: str, left_out: list[Remark]) -> Found:
    """Return the rows of an `index.csv`, without masks drawn as polygons, which are too coarse to score on."""
    rows = text_file.table(text_file.read(root / "index.csv"), INDEX_COLUMNS, "index.csv")
    found = []
    for row in rows:
        if row["split"] == split:
            exact = row["mask_kind"] == "trimap"
            found.append(LabelledImage(root / row["image"], row["label"], root / row["mask"] if exact else None))
    if rows and not found:
        splits = ", ".join(sorted({row["split"] for row in rows}))
        raise TextError(f"index.csv has no row of the split {split}; choose one with --split: {splits}")
    return found


def _folders(root: Path, split: str, left_out: list[Remark]) -> Found:
    """Return the images under a folder for each label."""
    base = root / split
    if not base.is_dir():
        raise TextError(f"there is no folder {split}; there are {', '.join(folder_names(root)) or 'none'}")
    names = folder_names(base)
    if not split and names and all(name.lower() in SPLITS and folder_names(base / name) for name in names):
        raise TextError(f"it has the splits {', '.join(names)}; choose one with --split {names[0]}")
    found = []
    for path in listing.images(base, left_out):
        label, *further = path.relative_to(base).parts
        if further:
            found.append(LabelledImage(path, label))
        else:
            left_out.append(Remark(path, "it is in no folder of a label"))
    return found


def folder_names(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without hidden ones and those of tools."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not listing.is_foreign(path))


def _imagenet(root: Path, split: str, left_out: list[Remark]) -> Found:
    """Return ImageNet's images, which are in folders of WordNet ids, or in one folder beside a table of the ids."""
    folder = _imagenet_folder(root, split)
    if _has_wnids(folder):
        return _folders(folder, "", left_out)
    rows = text_file.table(text_file.read(root / IMAGENET_TABLE), ("ImageId", "PredictionString"), IMAGENET_TABLE)
    return [LabelledImage(folder / f"{row['ImageId']}.JPEG", (*row["PredictionString"].split(), "")[0]) for row in rows]


def _imagenet_folder(root: Path, split: str) -> Path:
    folders = (root / split, root / "ILSVRC" / "Data" / "CLS-LOC" / split, root / "Data" / "CLS-LOC" / split)
    return next((folder for folder in folders if folder.is_dir()), root)


def _has_wnids(root: Path) -> bool:
    return any(WNID.fullmatch(path.name) for path in root.glob("n*/"))


def _ade20k(root: Path, split: str, left_out: list[Remark]) -> Found:
    """Return the images of ADEChallengeData2016."""
    return _paired(root / "images" / split, root / "annotations" / split, FROM_ONE, left_out)


def _pairs(root: Path, split: str, left_out: list[Remark]) -> Found:
    """Return the images in `images` whose mask has the same name in `masks`; a split is a folder in both."""
    return _paired(root / "images" / split, root / "masks" / split, UNCHANGED, left_out)


def _paired(images: Path, masks: Path, values: MaskValues, left_out: list[Remark]) -> Found:
    """Return the images that have a mask of their name."""
    found = listing.pairs(images, masks, left_out)
    return [LabelledImage(path, mask=mask, values=values) for path, mask in found]


def _cityscapes(root: Path, split: str, left_out: list[Remark]) -> Found:
    ending = "_leftImg8bit.png"
    found = []
    for path in listing.images(root / "leftImg8bit" / split, left_out):
        if not path.name.endswith(ending):
            left_out.append(Remark(path, f"its name does not end in {ending}"))
            continue
        name = f"{path.name.removesuffix(ending)}_gtFine_labelIds.png"
        mask = root / "gtFine" / split / path.parent.name / name
        found.append(LabelledImage(path, mask=mask, values=FROM_LABEL_IDS))
    return found


def _voc(root: Path, split: str, _left_out: list[Remark]) -> Found:
    """Return the images of Pascal VOC's list, which is a choice: images that are not on it are not left out."""
    lists = root / "ImageSets" / "Segmentation"
    if not (chosen := lists / f"{split}.txt").is_file():
        others = ", ".join(sorted(path.stem for path in lists.glob("*.txt"))) or "none"
        raise TextError(f"there is no {chosen.relative_to(root)}; choose another list with --split: {others}")
    names = text_file.read(chosen).split()
    images, masks = root / "JPEGImages", root / "SegmentationClass"
    return [LabelledImage(listing.find(images, name, ".jpg"), mask=masks / f"{name}.png") for name in names]


def _coco(root: Path, split: str, _left_out: list[Remark]) -> Found:
    """Return the images of a file of COCO annotations. Images that are not in it are not left out."""
    return coco.read(root, split)


# In the order in which they are tried. Any folder is taken for folders of labels if no other layout fits.
LAYOUTS: Final[dict[str, Layout]] = {
    "index": Layout(lambda root: (root / "index.csv").is_file(), _index, "test"),
    "coco": Layout(coco.fits, _coco),
    "ade20k": Layout(lambda root: (root / "annotations").is_dir(), _ade20k, "validation", 150),
    "cityscapes": Layout(lambda root: (root / "leftImg8bit").is_dir(), _cityscapes, "val", 19),
    "voc": Layout(lambda root: (root / "SegmentationClass").is_dir(), _voc, "val", 21),
    "pairs": Layout(lambda root: (root / "masks").is_dir(), _pairs),
    "imagenet": Layout(
        lambda root: _has_wnids(_imagenet_folder(root, "val")) or (root / IMAGENET_TABLE).is_file(), _imagenet, "val"
    ),
    "folders": Layout(lambda _root: True, _folders),
}
