"""The heavy part of drawing a mask: of arrays alone, so that another process may do it that knows no cards."""

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
class Plan:
    """What to make of a mask, and of the confidence where there is one, for a picture of `width` x `height` pixels.

    `scores` has one for each class, and `palette` a colour; `classes` None is all of them.
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
    figures: bool = True


@dataclass(frozen=True)
class Painted:
    """The figures of a mask's classes and, as asked for, its files by name or its classes' outlines by their ids.

    Of polygons it is the JSON of their coordinates: to read them from another process would take the gateway's loop ten
    times as long as to write them.
    """

    figures: list[masks.Figure] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    run_lengths: dict[int, str] = field(default_factory=dict)
    polygons: dict[int, bytes] = field(default_factory=dict)


def paint(plan: Plan) -> Painted:
    """What was planned. Raises `ValueError` for a class without a colour."""
    painted = Painted()
    if plan.form == "polygons":
        painted.polygons.update(_polygons(plan))
    if plan.confidence is not None:
        painted.files["confidence"] = masks.grey(masks.fit(plan.confidence, plan.width, plan.height))
    if not (plan.figures or plan.form in {"png", "rle"}):
        return painted
    shown = plan.mask if plan.classes is None else masks.keep(plan.mask, plan.classes)
    mask = masks.fit(shown, plan.width, plan.height)
    if plan.figures:
        painted.figures.extend(masks.figures(mask, plan.scores))
    if plan.form == "png":
        painted.files["mask"] = masks.png(mask, plan.palette)
    if plan.form == "rle":
        painted.run_lengths.update(run_lengths.encode(mask))
    return painted


def _polygons(plan: Plan) -> dict[int, bytes]:
    """The borders are those of all classes, so that a filter does not move them."""
    found = outlines.polygons(plan.mask, plan.width, plan.height, plan.tolerance)
    wanted = found.keys() if plan.classes is None else found.keys() & plan.classes
    return {class_id: orjson.dumps(found[class_id]) for class_id in found if class_id in wanted}
