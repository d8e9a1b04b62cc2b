"""Read labelled images from disk, in the layouts in which data sets are published."""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.models.cards import CardError
from service.tasks.scoring_base import IGNORED, UNCHANGED, Dataset, LabelledImage, MaskValues

WNID = re.compile(r"n\d{8}")
IMAGENET_TABLE = "LOC_val_solution.csv"
SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"))
# The 19 classes of Cityscapes among the values of its `labelIds` masks, in the order of their train ids.
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33)
FROM_ONE: Final[MaskValues] = (IGNORED, *range(255))  # 0 is unlabelled
FROM_LABEL_IDS: Final[MaskValues] = tuple(
    CITYSCAPES_IDS.index(value) if value in CITYSCAPES_IDS else IGNORED for value in range(256)
)


@dataclass(frozen=True)
class Layout:
    """A layout of data sets: how to recognise and read it, its validation split, and the classes of its masks."""

    fits: Callable[[Path], bool]
    read: Callable[[Path, str], Sequence[LabelledImage]]
    split: str = ""
    classes: int | None = None


def read(root: Path, layout: str | None = None, split: str | None = None) -> Dataset:
    """Return the data set in a folder. Its layout is recognised by its files if none is given.

    Raises `CardError` if a file that the layout needs is missing or has another form.
    """
    chosen = layout or next(name for name, each in LAYOUTS.items() if each.fits(root))
    rules = LAYOUTS[chosen]
    try:
        images = tuple(rules.read(root, split or rules.split))
    except (OSError, UnicodeDecodeError, KeyError, csv.Error) as error:
        reason = str(error) if isinstance(error, OSError) else repr(error)
        raise CardError(f"{root} is not a data set of the layout {chosen}: {reason}") from error
    if not images:
        raise CardError(f"{root} has no image of the layout {chosen}{f', split {split}' if split else ''}")
    return Dataset(root, chosen, images, rules.classes)


def _index(root: Path, split: str) -> Sequence[LabelledImage]:
    """Return the rows of an `index.csv`, without masks drawn as polygons, which are too coarse to score on."""
    with (root / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
        return [_of_index(root, row) for row in rows]


def _of_index(root: Path, row: dict[str, str]) -> LabelledImage:
    exact = row["mask_kind"] == "trimap"
    return LabelledImage(root / row["image"], row["label"], root / row["mask"] if exact else None)


def _folders(root: Path, _split: str) -> Sequence[LabelledImage]:
    """Return the images in a folder for each label."""
    return [LabelledImage(path, path.parent.name) for path in _images(root, "*/*")]


def _imagenet(root: Path, split: str) -> Sequence[LabelledImage]:
    """Return ImageNet's images, which are in folders of WordNet ids, or in one folder beside a table of the ids."""
    folder = _imagenet_folder(root, split)
    if _has_wnids(folder):
        return _folders(folder, "")
    with (root / IMAGENET_TABLE).open(encoding="utf-8", newline="") as file:
        return [
            LabelledImage(folder / f"{row['ImageId']}.JPEG", row["PredictionString"].split()[0])
            for row in csv.DictReader(file)
        ]


def _imagenet_folder(root: Path, split: str) -> Path:
    folders = (root / split, root / "ILSVRC" / "Data" / "CLS-LOC" / split, root / "Data" / "CLS-LOC" / split)
    return next((folder for folder in folders if folder.is_dir()), root)


def _has_wnids(root: Path) -> bool:
    return any(WNID.fullmatch(path.name) for path in root.glob("n*/"))


def _ade20k(root: Path, split: str) -> Sequence[LabelledImage]:
    """Return the images of ADEChallengeData2016."""
    return _paired(root / "images" / split, root / "annotations" / split, FROM_ONE)


def _pairs(root: Path, _split: str) -> Sequence[LabelledImage]:
    """Return the images in `images` whose mask has the same name in `masks`."""
    return _paired(root / "images", root / "masks", UNCHANGED)


def _paired(images: Path, masks: Path, values: MaskValues) -> Sequence[LabelledImage]:
    """Return the images that have a mask of their name."""
    found = [(path, masks / f"{path.stem}.png") for path in _images(images, "*")]
    return [LabelledImage(path, mask=mask, values=values) for path, mask in found if mask.is_file()]


def _cityscapes(root: Path, split: str) -> Sequence[LabelledImage]:
    ending = "_leftImg8bit.png"
    images = []
    for path in sorted((root / "leftImg8bit" / split).glob(f"*/*{ending}")):
        name = f"{path.name.removesuffix(ending)}_gtFine_labelIds.png"
        mask = root / "gtFine" / split / path.parent.name / name
        images.append(LabelledImage(path, mask=mask, values=FROM_LABEL_IDS))
    return images


def _voc(root: Path, split: str) -> Sequence[LabelledImage]:
    names = (root / "ImageSets" / "Segmentation" / f"{split}.txt").read_text(encoding="utf-8").split()
    images, masks = root / "JPEGImages", root / "SegmentationClass"
    return [LabelledImage(images / f"{name}.jpg", mask=masks / f"{name}.png") for name in names]


def _images(folder: Path, pattern: str) -> Sequence[Path]:
    return [path for path in sorted(folder.glob(pattern)) if path.suffix.lower() in SUFFIXES and path.name[0] != "."]


# In the order in which they are tried. Any folder is taken for folders of labels if no other layout fits.
LAYOUTS: Final[dict[str, Layout]] = {
    "index": Layout(lambda root: (root / "index.csv").is_file(), _index, "test"),
    "ade20k": Layout(lambda root: (root / "annotations").is_dir(), _ade20k, "validation", 150),
    "cityscapes": Layout(lambda root: (root / "leftImg8bit").is_dir(), _cityscapes, "val", 19),
    "voc": Layout(lambda root: (root / "SegmentationClass").is_dir(), _voc, "val", 21),
    "pairs": Layout(lambda root: (root / "masks").is_dir(), _pairs),
    "imagenet": Layout(
        lambda root: _has_wnids(_imagenet_folder(root, "val")) or (root / IMAGENET_TABLE).is_file(), _imagenet, "val"
    ),
    "folders": Layout(lambda _root: True, _folders),
}
