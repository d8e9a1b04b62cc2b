"""Corrects what Pillow reads wrongly: transparent colours of PNG, unused alpha of BMP, planes of 16-bit TIFF.

Each correction has a test that fails as soon as Pillow needs it no more.
"""

from collections.abc import Callable
from typing import Final

from PIL import Image, ImageFile, TiffImagePlugin

from service.imaging.image_header import tiff_tags

PNG_DEPTH_AT: Final = 24  # offset of the header's bits per sample
BITS_PER_SAMPLE, PLANAR_CONFIGURATION = 258, 284  # TIFF tags
SEPARATE_PLANES: Final = 2


class LibtiffImageFile(TiffImagePlugin.TiffImageFile):
    """A TIFF that libtiff decodes even if it is not compressed.

    Pillow's own code reads separate planes of 16 bits as planes of 8, so each image is another one.
    """

    use_load_libtiff = property(lambda _self: True, lambda _self, _value: None)


def plugin(data: bytes) -> type[ImageFile.ImageFile]:
    """Return Pillow's class for this TIFF."""
    tags = tiff_tags(data)
    if tags.get(PLANAR_CONFIGURATION) == SEPARATE_PLANES and tags.get(BITS_PER_SAMPLE, 1) > 8:
        return LibtiffImageFile
    return TiffImagePlugin.TiffImageFile


def corrected(kind: str, image: ImageFile.ImageFile, data: bytes) -> Image.Image:
    """Return the loaded image of the file `data` as its format defines it."""
    return CORRECTIONS[kind](image, data) if kind in CORRECTIONS else image


def _png(image: Image.Image, data: bytes) -> Image.Image:
    """Scale the transparent colour as Pillow scales the pixels, to 8 bits. Pillow leaves it in the file's own depth."""
    depth, colour = data[PNG_DEPTH_AT], image.info.get("transparency")
    if image.mode == "L" and isinstance(colour, int) and depth in {2, 4}:
        image.info["transparency"] = colour * 255 // (2**depth - 1)
    if image.mode == "RGB" and isinstance(colour, tuple) and depth == 16:
        image.info["transparency"] = tuple(level >> 8 for level in colour)
    return image


def _bmp(image: Image.Image, _data: bytes) -> Image.Image:
    """Drop an alpha channel that is zero everywhere. Screenshots and clipboards of Windows leave those bytes unused."""
    unused = image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)
    return image.convert("RGB") if unused else image


CORRECTIONS: Final[dict[str, Callable[[ImageFile.ImageFile, bytes], Image.Image]]] = {"PNG": _png, "BMP": _bmp}
