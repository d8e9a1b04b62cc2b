"""Examples of the responses with detections."""

from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw

from service.imaging import rle
from service.tasks import sample

MODEL: Final = {"name": "starter-detector", "version": "1.0", "task": "detection"}
OTHER: Final = {"name": "faster_rcnn_resnest50", "version": "1.0", "task": "detection"}


def detect() -> tuple[dict[str, Any], ...]:
    """Return one image by a model with masks, and the same image by it and by a model without them."""
    left, top, right, bottom = sample.CIRCLE
    bbox = [float(left), float(top), float(right - left), float(bottom - top)]
    mask = _mask()
    row = {"label": "cat", "class_id": 0, "score": 0.981234, "bbox": bbox, "color": "#e6194b"}
    runs = {"format": "rle", "size": [sample.HEIGHT, sample.WIDTH], "counts": rle.encode(mask)[1]}
    masked = {**row, "pixels": int(mask.sum()), "mask": runs}
    other = {**row, "class_id": 15, "category_id": 17, "score": 0.972201, "color": "#400080"}
    blocks = [{"model": MODEL, "detections": [masked]}, {"model": OTHER, "detections": [other]}]
    return (
        sample.response(model=MODEL, results=[sample.result(detections=[masked])]),
        sample.response(models=[MODEL, OTHER], results=[sample.result(models=blocks)]),
    )


def _mask() -> Any:
    image = Image.new("L", (sample.WIDTH, sample.HEIGHT))
    ImageDraw.Draw(image).ellipse(sample.CIRCLE, fill=1)
    return np.asarray(image)
