"""Read data sets in COCO's layout: boxes and masks of the objects in `annotations/instances_<split>.json`.

Roboflow exports the same documents as `<split>/_annotations.coco.json`, beside the images.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from service.measure.accuracy import coco_masks
from service.models import text_file
from service.models.text_file import TextError
from service.tasks.scoring_base import LabelledImage, TrueInstance

PUBLISHED_SPLIT: Final = "val2017"
PREFIX: Final = "instances_"
ROBOFLOW: Final = "_annotations.coco.json"
SLACK: Final = 1.0  # pixels by which tools round boxes beyond the image
MOST_OUTSIDE: Final = 0.25  # of the boxes; objects that go on beyond the image are rarer


class CocoImage(BaseModel):
    """An image of the file. Its size is in pixels."""

    id: int
    file_name: str
    width: int
    height: int


class Category(BaseModel):
    """A class of objects."""

    id: int
    name: str


class Annotation(BaseModel):
    """An object: its box (left, top, width, height) and area in pixels, and its polygons or run lengths if any."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: int = 0
    segmentation: Any = None


class CocoInstances(BaseModel):
    """The parts of the file that detection needs."""

    images: list[CocoImage]
    categories: list[Category]
    annotations: list[Annotation]


def fits(root: Path) -> bool:
    """Return whether a folder has annotations of objects."""
    return bool(_files(root))


def read(root: Path, split: str) -> list[LabelledImage]:
    """Return the images of a split by their id, with their objects. An image without objects has none.

    Without a split it is `val2017` or the only one there is. Raises `TextError`.
    """
    files = _files(root)
    name = _split(files, split)
    path = files[name]
    try:
        found = CocoInstances.model_validate_json(text_file.read(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise TextError(f"{path.name}: {where}: {first['msg']}") from error
    images = {each.id: each for each in found.images}
    labels = {each.id: each.name for each in found.categories}
    for what, known, listed in (("images", images, found.images), ("categories", labels, found.categories)):
        if len(known) < len(listed):
            raise TextError(f"{path.name}: {len(listed) - len(known)} of its {what} have the id of another one")
    objects: dict[int, list[TrueInstance]] = {each: [] for each in sorted(images)}
    for number, each in enumerate(found.annotations):
        if each.image_id not in images or each.category_id not in labels:
            raise TextError(f"{path.name}: annotations.{number}: its image or its category is not in the file")
        objects[each.image_id].append(_instance(each, labels[each.category_id], images[each.image_id]))
    _check_boxes(path.name, found.annotations, images)
    folder = _folder(root, name, found.images)
    return [
        LabelledImage(
            folder / images[image_id].file_name,
            instances=tuple(instances),
            size=(images[image_id].width, images[image_id].height),
        )
        for image_id, instances in objects.items()
    ]


def _check_boxes(name: str, annotations: Sequence[Annotation], images: Mapping[int, CocoImage]) -> None:
    """Raise `TextError` where boxes are not left, top, width and height in pixels. Every score would be near 0."""
    outside = sum(_is_outside(each.bbox, images[each.image_id]) for each in annotations)
    if outside > MOST_OUTSIDE * len(annotations):
        raise TextError(
            f"{name}: {outside} of {len(annotations)} boxes go beyond their images, as if bbox were left, top, right, "
            "bottom; COCO's is left, top, width, height in pixels"
        )
    if annotations and max(max(each.bbox) for each in annotations) <= 1:
        raise TextError(f"{name}: its boxes are shares of the images, and COCO's are in pixels")


def _is_outside(box: Sequence[float], image: CocoImage) -> bool:
    left, top, width, height = box
    ends = left + width > image.width + SLACK or top + height > image.height + SLACK
    return ends or min(left, top) < -SLACK or min(width, height) < 0


def _files(root: Path) -> dict[str, Path]:
    """Return the files of annotations by their split."""
    published = (root / "annotations").glob(f"{PREFIX}*.json")
    exported = {path.parent.name: path for path in sorted(root.glob(f"*/{ROBOFLOW}"))}
    return exported | {path.stem.removeprefix(PREFIX): path for path in sorted(published)}


def _split(files: Mapping[str, Path], split: str) -> str:
    if split in files:
        return split
    names = ", ".join(files) or "none"
    if split:
        raise TextError(f"there is no annotations/{PREFIX}{split}.json; there are {names}")
    if PUBLISHED_SPLIT in files or len(files) == 1:
        return PUBLISHED_SPLIT if PUBLISHED_SPLIT in files else next(iter(files))
    raise TextError(f"it has the splits {names}; choose one with --split")


def _folder(root: Path, split: str, images: list[CocoImage]) -> Path:
    """Return the folder of the images: that of the split, or else the first one that has one of them."""
    folders = (root / split, root / "images" / split, root / "images", root)
    return next((each for each in folders if any((each / image.file_name).exists() for image in images)), folders[0])


def _instance(each: Annotation, label: str, image: CocoImage) -> TrueInstance:
    draw = partial(coco_masks.draw, each.segmentation, image.height, image.width) if each.segmentation else None
    area = each.bbox[2] * each.bbox[3] if each.area is None else each.area
    return TrueInstance(label, each.bbox, area, bool(each.iscrowd), draw)
