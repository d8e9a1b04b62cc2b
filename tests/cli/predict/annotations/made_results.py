"""Lines of results as the service writes them, made of masks whose pixels are known."""

from typing import Any

import numpy as np
import numpy.typing as npt

from service.imaging import polygons, rle

WIDTH, HEIGHT = 60, 40
MODEL = {"name": "tiny-detector", "version": "1.0", "task": "detection"}
FACTS = {"width": WIDTH, "height": HEIGHT, "format": "JPEG", "mode": "RGB"}

Mask = npt.NDArray[np.bool_]


def ring() -> Mask:
    """Return a square of 20 pixels with a hole of 6, and a part of 3 apart from it."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:25, 10:30] = True
    mask[10:16, 15:21] = False
    mask[30:33, 40:43] = True
    return mask


def detection(mask: Mask, form: str = "rle", **changed: Any) -> dict[str, Any]:
    """Return a detection with this mask, as run lengths, as polygons or without (`none`)."""
    rows, columns = np.nonzero(mask)
    left, top = int(columns.min()), int(rows.min())
    box = [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]
    masks = {
        "rle": {"format": "rle", "size": [HEIGHT, WIDTH], "counts": rle.encode(mask.astype(np.uint8))[1]},
        "polygons": {
            "format": "polygons",
            "type": "MultiPolygon",
            "coordinates": polygons.polygons(mask.astype(np.uint8), WIDTH, HEIGHT)[1],
        },
        "none": None,
    }
    row = {"label": "dog", "class_id": 1, "score": 0.9, "bbox": box, "color": "#4363d8", "pixels": int(mask.sum())}
    found = {**row, "mask": masks[form]} if masks[form] else row
    return {**found, **changed}


def record(*detections: dict[str, Any], file: str = "photos/a.jpg") -> dict[str, Any]:
    """Return a line about an image with these detections."""
    return {"file": file, "model": MODEL, "image": FACTS, "detections": list(detections), "warnings": []}


def classified(file: str = "photos/a.jpg", **members: Any) -> dict[str, Any]:
    """Return a line about an image that is a rose."""
    model = {**MODEL, "name": "tiny-classifier", "task": "classification"}
    predictions = [{"label": "rose", "class_id": 4, "score": 0.8}, {"label": "tulip", "class_id": 6, "score": 0.1}]
    return {"file": file, "model": model, "image": FACTS, "predictions": predictions, "warnings": [], **members}
