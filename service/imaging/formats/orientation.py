"""Finds out how to turn an image upright, as its EXIF data says."""

from typing import Final

from PIL import Image, ImageFile

from service.imaging.formats.ancillary import EXIF_IGNORED

ORIENTATION: Final = 0x0112
UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDES_SWAPPED: Final = {UPRIGHT[5], UPRIGHT[6], UPRIGHT[7], UPRIGHT[8]}


def of(opened: ImageFile.ImageFile) -> tuple[Image.Transpose | None, tuple[str, ...]]:
    """Return how to transpose the image, and a warning if its orientation cannot be read.

    For a TIFF, Pillow transposes and removes the tag.
    """
    try:
        orientation = opened.getexif().get(ORIENTATION, 1)
        return UPRIGHT.get(orientation), () if orientation in {1, *UPRIGHT} else (EXIF_IGNORED,)
    except Exception:  # the bytes caused it, but an image is not rejected because of its metadata
        return None, (EXIF_IGNORED,)
