"""Detections in pixels, from the outputs of a model here or behind a service."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.imaging import rle
from service.tasks.detection.coco.cropped_masks import CroppedMask, cropped, pasted
from service.tasks.scoring_base import PipelineOutput

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """Detections in an image: boxes (left, top, right, bottom in pixels), scores, class ids, and masks if any."""

    boxes: Floats
    scores: Floats
    class_ids: npt.NDArray[np.int64]
    masks: list[CroppedMask] | None


def found_in(output: PipelineOutput) -> Found:
    """Return the detections of an output in pixels of the upload."""
    arrays, size = output.arrays, (output.height, output.width)
    boxes = arrays["boxes"].astype(np.float64) * [output.width, output.height, output.width, output.height]
    masks = None
    if "runs" in arrays:
        ends = np.cumsum(arrays["lengths"])[:-1]
        masks = [cropped(rle.draw(each, *size)) for each in np.split(arrays["runs"], ends)] if len(boxes) else []
    elif "masks" in arrays:
        masks = [pasted(mask, tuple(box), *size) for mask, box in zip(arrays["masks"], boxes.tolist(), strict=True)]
    return Found(boxes, arrays["scores"].astype(np.float64), arrays["class_ids"].astype(np.int64), masks)
