"""HEIC, the format of iPhones' photos: libheif by way of pi-heif, a package that not every installation has."""

import importlib
import importlib.util
from typing import cast

from PIL import ImageFile

from service.errors import UnsupportedMediaType

PACKAGE = "pi_heif"
HINT = "The bytes are a HEIC picture, which is read where the extra is installed: pip install 'resnest-service[heic]'."

# Of HEVC in an ISO base media file (ISO/IEC 23008-12, annex B.4): stills and sequences, with their profiles.
BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}


def installed(package: str = PACKAGE) -> bool:
    """Whether HEIC can be read here."""
    return importlib.util.find_spec(package) is not None


def plugin(accepted: list[str], package: str = PACKAGE) -> type[ImageFile.ImageFile]:
    """Pillow's class for HEIC. Raises `UnsupportedMediaType`, with what is accepted, where the extra is missing."""
    if not installed(package):
        raise UnsupportedMediaType(HINT, accepted=accepted)
    options = importlib.import_module(f"{package}.options")
    # The main picture alone, on one core, as of every other format.
    options.DECODE_THREADS = 1  # type: ignore[attr-defined]
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False  # type: ignore[attr-defined]
    return cast("type[ImageFile.ImageFile]", importlib.import_module(f"{package}.as_plugin").HeifImageFile)
