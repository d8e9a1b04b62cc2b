"""An image with its labels, read from a line of results of any task, with masks in any form."""

import base64
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.cli.predict.annotations.outlines import Outline
from service.cli.predict.annotations.outlines import of_mask as outline_of_mask
from service.cli.predict.failures import RunFailedError
from service.imaging import rle

PREDICTIONS, DETECTIONS, SEGMENTS = MEMBERS = ("predictions", "detections", "segments")


@dataclass(frozen=True)
class AnnotatedObject:
    """A label of an image, or of an object in it.

    `box` is x, y, width, height in pixels of the upright image; None for a label of the whole image. The area is in
    `runs`, COCO's compressed run lengths, or in `outline`, or in neither.
    """

    label: str
    class_id: int
    score: float
    category_id: int | None = None
    box: tuple[float, float, float, float] | None = None
    pixels: int | None = None
    runs: str | None = None
    outline: Outline = ()


@dataclass(frozen=True)
class AnnotatedImage:
    """An image file with its upright size in pixels, the model that answered, and what the model found."""

    file: str
    width: int
    height: int
    model: Mapping[str, str]
    objects: tuple[AnnotatedObject, ...]

    def outline(self, found: AnnotatedObject, tolerance: float) -> Outline:
        """Return the outline of an object, simplified by `tolerance` in pixels. Empty if it has no mask."""
        if found.runs is None:
            return found.outline
        return outline_of_mask(rle.draw(rle.lengths(found.runs), self.height, self.width), tolerance)


def of_record(record: Mapping[str, Any]) -> AnnotatedImage:
    """Return the image of one line of results. Raises `RunFailedError` for a line that has no labels."""
    member = next((name for name in MEMBERS if name in record), None)
    if member is None:
        raise RunFailedError("it has none of the members predictions, detections and segments")
    read = {PREDICTIONS: _predictions, DETECTIONS: _detections, SEGMENTS: _segments}[member]
    try:
        size = record["image"]["width"], record["image"]["height"]
        return AnnotatedImage(record["file"], *size, record.get("model", {}), tuple(read(record)))
    except (KeyError, TypeError, ValueError) as error:
        raise RunFailedError(f"it is not an answer of this service ({type(error).__name__}: {error})") from error


def _predictions(record: Mapping[str, Any]) -> Iterator[AnnotatedObject]:
    """Yield the best class, unless the model says that the image is of something else."""
    if not record.get("unknown"):
        yield from (_object(row) for row in record[PREDICTIONS][:1])


def _detections(record: Mapping[str, Any]) -> Iterator[AnnotatedObject]:
    for row in record[DETECTIONS]:
        yield _object(row, **_area(row.get("mask") or {}))


def _area(mask: Mapping[str, Any]) -> dict[str, Any]:
    if mask.get("format") == "rle":
        return {"runs": mask["counts"]}
    return {"outline": _outline(mask["coordinates"])} if mask.get("format") == "polygons" else {}


def _segments(record: Mapping[str, Any]) -> Iterator[AnnotatedObject]:
    areas = _areas(record.get("mask") or {})
    for row in record[SEGMENTS]:
        yield _object(row, **areas.get(row["class_id"], {}))


def _areas(mask: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the area of each class of a mask, as fields of `AnnotatedObject`."""
    form = mask.get("format")
    if form == "rle":
        return {row["class_id"]: {"runs": row["counts"]} for row in mask["masks"]}
    if form == "polygons":
        features = mask["features"]
        return {
            each["properties"]["class_id"]: {"outline": _outline(each["geometry"]["coordinates"])} for each in features
        }
    if form == "png":
        return {class_id: {"runs": counts} for class_id, counts in rle.encode(_class_ids(mask)).items()}
    return {}


def _class_ids(mask: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """Return the class ids `(h, w)` of an indexed PNG, in the line itself or in the file that it names."""
    try:
        content = Path(mask["file"]).read_bytes() if "file" in mask else base64.b64decode(mask["data"])
        with Image.open(io.BytesIO(content)) as opened:
            return np.asarray(opened, np.uint8)
    except OSError as error:
        raise ValueError(f"its mask cannot be read: {error}") from error


def _object(row: Mapping[str, Any], **area: Any) -> AnnotatedObject:
    return AnnotatedObject(
        label=row["label"],
        class_id=row["class_id"],
        score=row["score"],
        category_id=row.get("category_id"),
        box=tuple(row["bbox"]) if "bbox" in row else None,
        pixels=row.get("pixels"),
        **area,
    )


def _outline(coordinates: Any) -> Outline:
    return tuple(tuple(tuple((x, y) for x, y in ring) for ring in polygon) for polygon in coordinates)
