"""Labelled pictures on disk, in the layouts in which data sets are published."""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.measure.accuracy.scores import IGNORED
from service.models.cards import CardError

Mask = npt.NDArray[np.uint8]
Values = tuple[int, ...]

WNID = re.compile(r"n\d{8}")
IMAGENET_TABLE = "LOC_val_solution.csv"
SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"))
# The 19 classes of Cityscapes among the values of its `labelIds` masks, in the order of their train ids.
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33)
AS_THEY_ARE: Final[Values] = tuple(range(256))
FROM_ONE: Final[Values] = (IGNORED, *range(255))  # 0 is unlabelled
FROM_LABEL_IDS: Final[Values] = tuple(
    CITYSCAPES_IDS.index(value) if value in CITYSCAPES_IDS else IGNORED for value in range(256)
)


@dataclass(frozen=True)
class Photo:
    """A picture file and what is known of it: its label or WordNet id, or its mask, an indexed or grey picture.

    `values` is the class id that each of the mask's values stands for.
    """

    picture: Path
    label: str = ""
    mask: Path | None = None
    values: Values = AS_THEY_ARE

    def class_ids(self) -> Mask:
        """The mask's class ids `(h, w)`, `IGNORED` where a pixel has none. Raises `CardError`."""
        if self.mask is None:
            raise CardError(f"{self.picture} has no mask")
        try:
            with Image.open(self.mask) as opened:
                if opened.mode not in ("L", "P"):
                    raise CardError(f"{self.mask} is {opened.mode}, and a mask is an indexed or grey picture")
                ids: Mask = np.asarray(self.values, np.uint8)[np.asarray(opened)]
                return ids
        except OSError as error:
            raise CardError(f"{self.mask} cannot be read: {error}") from error


@dataclass(frozen=True)
class Layout:
    """One way to lay out a data set: how it is known and read, its split for validation, its masks' classes."""

    fits: Callable[[Path], bool]
    read: Callable[[Path, str], Sequence[Photo]]
    split: str = ""
    classes: int | None = None


@dataclass(frozen=True)
class Dataset:
    """The pictures of one split of a folder."""

    root: Path
    layout: str
    photos: tuple[Photo, ...]
    classes: int | None = None


def read(root: Path, layout: str | None = None, split: str | None = None) -> Dataset:
    """The data set in a folder, whose layout is found by its files unless it is named.

    Raises `CardError` where a file that the layout needs is missing or is not of its form.
    """
    chosen = layout or next(name for name, each in LAYOUTS.items() if each.fits(root))
    rules = LAYOUTS[chosen]
    try:
        photos = tuple(rules.read(root, split or rules.split))
    except (OSError, UnicodeDecodeError, KeyError, csv.Error) as error:
        told = str(error) if isinstance(error, OSError) else repr(error)
        raise CardError(f"{root} is no data set of the layout {chosen}: {told}") from error
    if not photos:
        raise CardError(f"{root} holds no picture of the layout {chosen}{f', split {split}' if split else ''}")
    return Dataset(root, chosen, photos, rules.classes)


def _index(root: Path, split: str) -> Sequence[Photo]:
    """An `index.csv`; masks drawn as polygons are left out: too coarse to score on."""
    with (root / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
        return [_of_index(root, row) for row in rows]


def _of_index(root: Path, row: dict[str, str]) -> Photo:
    exact = row["mask_kind"] == "trimap"
    return Photo(root / row["image"], row["label"], root / row["mask"] if exact else None)


def _folders(root: Path, _split: str) -> Sequence[Photo]:
    """A folder for each label."""
    return [Photo(path, path.parent.name) for path in _pictures(root, "*/*")]


def _imagenet(root: Path, split: str) -> Sequence[Photo]:
    """ImageNet's validation pictures: in folders of WordNet ids, or in one folder beside the table of their ids."""
    home = _imagenet_home(root, split)
    if _of_wnids(home):
        return _folders(home, "")
    with (root / IMAGENET_TABLE).open(encoding="utf-8", newline="") as file:
        return [
            Photo(home / f"{row['ImageId']}.JPEG", row["PredictionString"].split()[0]) for row in csv.DictReader(file)
        ]


def _imagenet_home(root: Path, split: str) -> Path:
    places = (root / split, root / "ILSVRC" / "Data" / "CLS-LOC" / split, root / "Data" / "CLS-LOC" / split)
    return next((place for place in places if place.is_dir()), root)


def _of_wnids(root: Path) -> bool:
    return any(WNID.fullmatch(path.name) for path in root.glob("n*/"))


def _ade20k(root: Path, split: str) -> Sequence[Photo]:
    """ADEChallengeData2016."""
    return _paired(root / "images" / split, root / "annotations" / split, FROM_ONE)


def _pairs(root: Path, _split: str) -> Sequence[Photo]:
    """`images` and `masks`, with files of the same names."""
    return _paired(root / "images", root / "masks", AS_THEY_ARE)


def _paired(pictures: Path, masks: Path, values: Values) -> Sequence[Photo]:
    """Pictures that have a mask of their name."""
    found = [(path, masks / f"{path.stem}.png") for path in _pictures(pictures, "*")]
    return [Photo(path, mask=mask, values=values) for path, mask in found if mask.is_file()]


def _cityscapes(root: Path, split: str) -> Sequence[Photo]:
    ending = "_leftImg8bit.png"
    photos = []
    for path in sorted((root / "leftImg8bit" / split).glob(f"*/*{ending}")):
        name = f"{path.name.removesuffix(ending)}_gtFine_labelIds.png"
        photos.append(Photo(path, mask=root / "gtFine" / split / path.parent.name / name, values=FROM_LABEL_IDS))
    return photos


def _voc(root: Path, split: str) -> Sequence[Photo]:
    names = (root / "ImageSets" / "Segmentation" / f"{split}.txt").read_text(encoding="utf-8").split()
    return [
        Photo(root / "JPEGImages" / f"{name}.jpg", mask=root / "SegmentationClass" / f"{name}.png") for name in names
    ]


def _pictures(folder: Path, pattern: str) -> Sequence[Path]:
    return [path for path in sorted(folder.glob(pattern)) if path.suffix.lower() in SUFFIXES and path.name[0] != "."]


# In the order in which they are tried; a folder that is none of the others is one of folders of labels.
LAYOUTS: Final[dict[str, Layout]] = {
    "index": Layout(lambda root: (root / "index.csv").is_file(), _index, "test"),
    "ade20k": Layout(lambda root: (root / "annotations").is_dir(), _ade20k, "validation", 150),
    "cityscapes": Layout(lambda root: (root / "leftImg8bit").is_dir(), _cityscapes, "val", 19),
    "voc": Layout(lambda root: (root / "SegmentationClass").is_dir(), _voc, "val", 21),
    "pairs": Layout(lambda root: (root / "masks").is_dir(), _pairs),
    "imagenet": Layout(
        lambda root: _of_wnids(_imagenet_home(root, "val")) or (root / IMAGENET_TABLE).is_file(), _imagenet, "val"
    ),
    "folders": Layout(lambda _root: True, _folders),
}
