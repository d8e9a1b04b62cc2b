"""An example of a response with a mask."""

from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw

from service.imaging import masks
from service.tasks import sample

MODEL: Final = {"name": "starter-segmenter", "version": "1.0", "task": "segmentation"}
PALETTE: Final = ((0, 0, 0), (230, 25, 75))
LABELS: Final = ("background", "cat")


def segment() -> tuple[dict[str, Any], ...]:
    """Return one image with its mask, which any viewer opens."""
    image = Image.new("L", (sample.WIDTH, sample.HEIGHT))
    ImageDraw.Draw(image).ellipse(sample.CIRCLE, fill=1)
    mask = np.asarray(image)
    rows = [
        {
            "class_id": segment.class_id,
            "label": LABELS[segment.class_id],
            "color": "#{:02x}{:02x}{:02x}".format(*PALETTE[segment.class_id]),
            "pixels": segment.pixels,
            "share": round(segment.share, 6),
            "bbox": list(segment.bbox),
            "score": segment.score,
        }
        for segment in masks.segments(mask, (0.98, 0.93))
    ]
    found = sample.result(mask=sample.file("png", masks.png(mask, PALETTE)), segments=rows)
    return (sample.response(model=MODEL, results=[found]),)
