"""Real examples for the description of the API: the picture, the mask and the problems are made by our own code."""

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from service import __version__
from service.errors import ServiceError
from service.imaging import heatmap, masks
from service.imaging.decoder import FORMATS

REQUEST_ID = "3f6b0f0c9d6d4a0f8a0f2f3f1c9a7b55"
WIDTH, HEIGHT = 64, 48
PALETTE = ((0, 0, 0), (230, 25, 75))
LABELS = ("background", "cat")
TIMING = {"total": 41.2, "decode": 6.0, "queue": 1.1, "inference": 30.5}
CLASSIFIER = {"name": "starter-classifier", "version": "1.0", "task": "classification"}
OTHER = {"name": "resnest50", "version": "1.0", "task": "classification"}
SEGMENTER = {"name": "starter-segmenter", "version": "1.0", "task": "segmentation"}
PREDICTIONS = [{"label": "cat", "class_id": 0, "score": 0.973114}, {"label": "dog", "class_id": 1, "score": 0.014208}]

HEAT = [[0.2, 1.1], [3.4, 8.9]]

# What the error says this time, where its class alone does not make a whole example.
BOUNDS: dict[str, dict[str, Any]] = {
    "body_too_large": {"limit": 20_971_520, "actual": 20_971_521},
    "image_too_large": {"limit": 50_000_000, "actual": 60_000_000},
    "image_too_small": {"limit": 8, "actual": 4},
    "image_too_costly": {"limit": 16_000_900, "actual": 40_000_000},
    "too_many_images": {"limit": 32, "actual": 33},
    "overloaded": {"limit": 64, "actual": 65},
    "rate_limited": {"limit": 32, "violated-policies": ["pictures"]},
    "concurrency_limited": {"limit": 4, "actual": 5, "violated-policies": ["concurrency"]},
    "unsupported_media_type": {"accepted": list(FORMATS)},
    "not_acceptable": {"accepted": ["application/json"]},
    "invalid_header": {"errors": [{"parameter": "Request-Timeout", "detail": "More than 0 and at most 60."}]},
    "model_not_found": {"available": ["starter-classifier"]},
    "invalid_parameter": {"errors": [{"parameter": "top_k", "detail": "At most 7, the model's classes."}]},
}


def problem(error: type[ServiceError]) -> dict[str, Any]:
    """A problem document of that class."""
    made = error(f"{error.title}.", **BOUNDS.get(error.code(), {}))
    return {**made.problem(), "request_id": REQUEST_ID}


def request() -> dict[str, Any]:
    """A JSON request with a whole, small picture."""
    return {"images": [{"content": _base64(_png())}]}


def tensors() -> dict[str, Any]:
    """The same picture as a tensor."""
    return {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [_base64(_png())]}]}


def classified() -> dict[str, Any]:
    """One picture by one model."""
    return _answer(model=CLASSIFIER, results=[{**_picture(), "predictions": PREDICTIONS, "warnings": []}])


def compared() -> dict[str, Any]:
    """One picture by two models."""
    blocks = [{"model": model, "predictions": PREDICTIONS} for model in (CLASSIFIER, OTHER)]
    return _answer(models=[CLASSIFIER, OTHER], results=[{**_picture(), "models": blocks, "warnings": []}])


def segmented() -> dict[str, Any]:
    """One picture with its mask, which any viewer opens."""
    mask = _mask()
    rows = [
        {
            "class_id": figure.class_id,
            "label": LABELS[figure.class_id],
            "color": "#{:02x}{:02x}{:02x}".format(*PALETTE[figure.class_id]),
            "pixels": figure.pixels,
            "share": round(figure.share, 6),
            "bbox": list(figure.bbox),
            "score": figure.score,
        }
        for figure in masks.figures(mask, (0.98, 0.93))
    ]
    data = _base64(masks.png(mask, PALETTE))
    drawn = {"format": "png", "encoding": "base64", "width": WIDTH, "height": HEIGHT, "data": data}
    return _answer(model=SEGMENTER, results=[{**_picture(), "mask": drawn, "segments": rows, "warnings": []}])


def embedded() -> dict[str, Any]:
    """One picture's vector, of a network with fewer features than any has."""
    vector = {"encoding": "float", "dimensions": 4, "data": [0.41, 0.0, 1.27, 0.08]}
    return _answer(model=CLASSIFIER, results=[{**_picture(), "embedding": vector, "warnings": []}])


def explained() -> dict[str, Any]:
    """Why one picture is a cat, with its heat map, which any viewer opens."""
    with Image.open(io.BytesIO(_png())) as picture:
        drawn = heatmap.overlay(picture, np.array(HEAT), (4, 4, 44, 44))
    overlay = {"format": "png", "encoding": "base64", "width": WIDTH, "height": HEIGHT, "data": _base64(drawn)}
    row = {**PREDICTIONS[0], "bias": 0.012, "map": HEAT, "overlay": overlay}
    blocks = [{"stage": stage, "block": 1, "splits": [0.53, 0.47], "spread": [0.11, 0.11]} for stage in range(1, 5)]
    found = {"seen": [4, 4, 40, 40], "explanations": [row], "attention": blocks}
    return _answer(model=CLASSIFIER, results=[{**_picture(), **found, "warnings": []}])


def models() -> dict[str, Any]:
    """A list of one model."""
    return {"models": [_summary()]}


def model() -> dict[str, Any]:
    """One model in full."""
    return {
        **_summary(),
        "network": "resnest14",
        "identity": "5be0a2c47d19f3868b0e47c1a96d52f3e81b7c0459fa6d23c7180e95b4d6a21f",
        "input": {"profile": "official", "size": 160},
        "memory": {"weights_bytes": 21_243_920, "worker_bytes": 412_000_256},
        "languages": ["en", "de"],
        "labels": [{"class_id": 0, "label": "cat"}, {"class_id": 1, "label": "dog"}],
        "limits": {
            "max_upload_bytes": 20_971_520,
            "max_images": 32,
            "max_pixels": 50_000_000,
            "max_side": 16_384,
            "min_side": 8,
        },
        "formats": list(FORMATS),
    }


def ready() -> dict[str, Any]:
    """Every model is ready."""
    state = {"state": "ready", "workers_ready": 1, "workers_configured": 1, "answered": True, "circuits": {"closed": 1}}
    return {"status": "ready", "models": {"starter-classifier": state}, "limits": "local"}


def live() -> dict[str, Any]:
    """The process answers."""
    return {"status": "live"}


def inferred() -> dict[str, Any]:
    """One picture's scores as a tensor."""
    output = {"name": "scores", "datatype": "FP32", "shape": [1, 2], "data": [0.973114, 0.014208]}
    return {"model_name": "starter-classifier", "model_version": "1.0", "outputs": [output]}


def server() -> dict[str, Any]:
    """The server."""
    return {"name": "resnest-service", "version": __version__, "extensions": ["binary_tensor_data", "classification"]}


def model_tensors() -> dict[str, Any]:
    """A classifier's tensors."""
    return {
        "name": "starter-classifier",
        "versions": ["1.0"],
        "platform": "pytorch",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 2]}],
    }


def traffic() -> dict[str, Any]:
    """A `Traffic`."""
    shares = {"sticky": "caller", "shares": {"1.0": 0.95, "1.1": 0.05}, "shadow": {"version": "1.2", "share": 0.1}}
    return {"file": "/etc/resnest/traffic.toml", "mistake": None, "models": {CLASSIFIER["name"]: shares}}


ANSWERS: dict[str, Callable[[], dict[str, Any]]] = {
    "ClassifyResponse": classified,
    "CompareResponse": compared,
    "SegmentResponse": segmented,
    "EmbedResponse": embedded,
    "ExplainResponse": explained,
    "ModelList": models,
    "ModelDetail": model,
    "Ready": ready,
    "Live": live,
    "InferResponse": inferred,
    "ServerFacts": server,
    "ServerLive": lambda: {"live": True},
    "ServerReady": lambda: {"ready": True},
    "ModelTensors": model_tensors,
    "Traffic": traffic,
    "ModelReady": lambda: {"name": "starter-classifier", "ready": True},
}


def _answer(**members: Any) -> dict[str, Any]:
    return {"request_id": REQUEST_ID, **members, "timing_ms": TIMING}


def _picture() -> dict[str, Any]:
    image = {"width": WIDTH, "height": HEIGHT, "format": "PNG", "mode": "RGB"}
    return {"index": 0, "filename": "cat.png", "image": image}


def _summary() -> dict[str, Any]:
    return {
        **CLASSIFIER,
        "summary": "ResNeSt-14 on seven classes of pets and flowers, 160 px.",
        "licence": "Apache-2.0",
        "source": "https://github.com/zhanghang1989/ResNeSt",
        "state": "ready",
        "default": True,
        "share": 1.0,
        "shadow": 0.0,
        "classes": 2,
        "published": {},
        "measured": {},
    }


def _mask() -> masks.Mask:
    image = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(image).ellipse((12, 8, 44, 40), fill=1)
    return np.asarray(image)


def _png() -> bytes:
    image = Image.new("RGB", (WIDTH, HEIGHT), (200, 220, 240))
    ImageDraw.Draw(image).ellipse((12, 8, 44, 40), fill=(120, 80, 60))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
