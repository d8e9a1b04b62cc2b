"""Examples of the responses about whole images."""

import io
from typing import Any, Final

import numpy as np
from PIL import Image

from service.imaging.drawing import heatmap
from service.tasks import sample

MODEL: Final = {"name": "starter-classifier", "version": "1.0", "task": "classification"}
OTHER: Final = {"name": "resnest50", "version": "1.0", "task": "classification"}
PREDICTIONS: Final = [
    {"label": "cat", "class_id": 0, "score": 0.973114},
    {"label": "dog", "class_id": 1, "score": 0.014208},
]
MAP: Final = [[0.2, 1.1], [3.4, 8.9]]


def classify() -> tuple[dict[str, Any], ...]:
    """Return one image by one model, and by two."""
    blocks = [{"model": model, "predictions": PREDICTIONS} for model in (MODEL, OTHER)]
    return (
        sample.response(model=MODEL, results=[sample.result(predictions=PREDICTIONS, unknown=False)]),
        sample.response(models=[MODEL, OTHER], results=[sample.result(models=blocks)]),
    )


def embed() -> tuple[dict[str, Any], ...]:
    """Return one image's vector, shorter than that of any network."""
    vector = {"encoding": "float", "dimensions": 4, "data": [0.41, 0.0, 1.27, 0.08]}
    return (sample.response(model=MODEL, results=[sample.result(embedding=vector)]),)


def explain() -> tuple[dict[str, Any], ...]:
    """Return why one image is a cat, with a heat map that any viewer opens."""
    with Image.open(io.BytesIO(sample.png())) as image:
        drawn = heatmap.overlay(image, np.array(MAP), (4, 4, 44, 44))
    row = {**PREDICTIONS[0], "bias": 0.012, "map": MAP, "overlay": sample.file("png", drawn)}
    blocks = [{"stage": stage, "block": 1, "splits": [0.53, 0.47], "spread": [0.11, 0.11]} for stage in range(1, 5)]
    found = sample.result(seen=[4, 4, 40, 40], explanations=[row], attention=blocks)
    return (sample.response(model=MODEL, results=[found]),)
