"""Reads HEIC, the format of iPhone photos, with libheif through pi-heif, an optional package."""

import importlib
import importlib.util
from typing import cast

from PIL import ImageFile

from service.errors import UnsupportedMediaType

PACKAGE = "pi_heif"
HINT = (
    "The image is HEIC, which this installation does not read. Send it as a JPEG. The operator can install the Python "
    "package pi-heif in the gateway's environment."
)

# HEVC in an ISO base media file (ISO/IEC 23008-12, annex B.4): still images and sequences, with their profiles.
BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}


def installed(package: str = PACKAGE) -> bool:
    """Return whether this installation can read HEIC."""
    return importlib.util.find_spec(package) is not None


def plugin(accepted: list[str], package: str = PACKAGE) -> type[ImageFile.ImageFile]:
    """Return Pillow's class for HEIC. Raises `UnsupportedMediaType`, with `accepted`, if the package is missing."""
    if not installed(package):
        raise UnsupportedMediaType(HINT, accepted=accepted)
    options = importlib.import_module(f"{package}.options")
    # Only the primary image, on one core, as for every other format.
    options.DECODE_THREADS = 1  # type: ignore[attr-defined]
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False  # type: ignore[attr-defined]
    return cast("type[ImageFile.ImageFile]", importlib.import_module(f"{package}.as_plugin").HeifImageFile)
