"""The image, the request id and the times in the examples of the OpenAPI description. Our own code makes them."""

import base64
import io
from typing import Any, Final

from PIL import Image, ImageDraw

REQUEST_ID: Final = "3f6b0f0c9d6d4a0f8a0f2f3f1c9a7b55"
WIDTH, HEIGHT = 64, 48  # pixels
CIRCLE: Final = (12, 8, 44, 40)  # left, top, right, bottom
TIMING: Final = {"total": 41.2, "decode": 6.0, "queue": 1.1, "inference": 30.5}  # milliseconds


def response(**members: Any) -> dict[str, Any]:
    """Return a response with these members."""
    return {"request_id": REQUEST_ID, **members, "timing_ms": TIMING}


def result(**members: Any) -> dict[str, Any]:
    """Return the result of the example image with these members."""
    image = {"width": WIDTH, "height": HEIGHT, "format": "PNG", "mode": "RGB"}
    return {"index": 0, "filename": "cat.png", "image": image, **members, "warnings": []}


def png() -> bytes:
    """Return the example image."""
    image = Image.new("RGB", (WIDTH, HEIGHT), (200, 220, 240))
    ImageDraw.Draw(image).ellipse(CIRCLE, fill=(120, 80, 60))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def file(kind: str, data: bytes) -> dict[str, Any]:
    """Return a file of the example image's size as JSON carries it."""
    return {"format": kind, "encoding": "base64", "width": WIDTH, "height": HEIGHT, "data": in_base64(data)}


def in_base64(data: bytes) -> str:
    """Return the bytes in base64."""
    return base64.b64encode(data).decode("ascii")
