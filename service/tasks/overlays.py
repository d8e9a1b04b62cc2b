"""Overlays: files of the upload with something drawn over it."""

from typing import Final, Literal

from service.errors import ImageTooLarge
from service.tasks.base import DecodedFacts

OverlayKind = Literal["png", "webp"]
OVERLAYS: Final[dict[str, OverlayKind | None]] = {"false": None, "true": "png", "png": "png", "webp": "webp"}
WEBP_SIDE: Final = 16_383  # pixels, the largest side that a WebP header can hold


def check_webp(kind: OverlayKind | None, facts: DecodedFacts) -> None:
    """Raise `ImageTooLarge` where the format is WebP and the image is too large for it."""
    longest = max(facts.width, facts.height)
    if kind == "webp" and longest > WEBP_SIDE:
        detail = f"A WebP has sides of {WEBP_SIDE} pixels at most; ask for overlay=png."
        raise ImageTooLarge(detail, limit=WEBP_SIDE, actual=longest)
