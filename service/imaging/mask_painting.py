"""Renders a mask from arrays alone, so that a decode process, which has no model cards, can do it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import orjson

from service.imaging import masks
from service.imaging import polygons as outlines
from service.imaging import rle as run_lengths

MaskForm = Literal["png", "rle", "polygons"]


@dataclass(frozen=True)
class MaskPlan:
    """What to render of a mask and its optional confidence, for an image of `width` x `height` pixels.

    `scores` has a score for each class, and `palette` a colour. `classes` None means all classes.
    """

    width: int
    height: int
    mask: masks.Mask
    scores: npt.NDArray[np.floating]
    palette: Sequence[masks.Colour]
    form: MaskForm | None = None
    classes: frozenset[int] | None = None
    tolerance: float = 0.0
    confidence: masks.Mask | None = None
    segments: bool = True

    @property
    def pixels(self) -> int:
        """The pixels to compute."""
        return self.width * self.height

    def paint(self) -> "Painted":
        """Render what the plan names. Raises `ValueError` for a class without a colour."""
        return paint(self)


@dataclass(frozen=True)
class Painted:
    """A rendered mask: the segments of its classes and, on request, files by name, run lengths or polygons by class id.

    Polygons are the JSON of their coordinates. To read the coordinates themselves from another process would take the
    gateway's event loop ten times as long as to send the JSON.
    """

    segments: list[masks.MaskSegment] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    run_lengths: dict[int, str] = field(default_factory=dict)
    polygons: dict[int, bytes] = field(default_factory=dict)


def paint(plan: MaskPlan) -> Painted:
    """Render what the plan names. Raises `ValueError` for a class without a colour."""
    painted = Painted()
    if plan.form == "polygons":
        painted.polygons.update(_polygons(plan))
    if plan.confidence is not None:
        painted.files["confidence"] = masks.grey(masks.resize(plan.confidence, plan.width, plan.height))
    if not (plan.segments or plan.form in {"png", "rle"}):
        return painted
    shown = plan.mask if plan.classes is None else masks.select_classes(plan.mask, plan.classes)
    mask = masks.resize(shown, plan.width, plan.height)
    if plan.segments:
        painted.segments.extend(masks.segments(mask, plan.scores))
    if plan.form == "png":
        painted.files["mask"] = masks.png(mask, plan.palette)
    if plan.form == "rle":
        painted.run_lengths.update(run_lengths.encode(mask))
    return painted


def _polygons(plan: MaskPlan) -> dict[int, bytes]:
    """Return the selected polygons. They are made of all classes, so that the selection does not move the borders."""
    found = outlines.polygons(plan.mask, plan.width, plan.height, plan.tolerance)
    selected = found.keys() if plan.classes is None else found.keys() & plan.classes
    return {class_id: orjson.dumps(found[class_id]) for class_id in found if class_id in selected}
