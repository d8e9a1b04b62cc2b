"""Decodes an upload's bytes to an upright RGB image, or raises an error that the caller can act on.

The order protects the service: first the format by its first bytes, then the size in the header against the limits,
and only then the pixels. The bytes are untrusted until decoded, so any exception of Pillow is an error of the image.
"""

import logging
import re
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from service.errors import ImageCorrupt, ImageTooLarge, ImageTooSmall, ServiceError, UnsupportedMediaType
from service.imaging import colour, decompression_bombs, heic

FIRST_FRAME_ONLY = "first_frame_only"
EXIF_IGNORED = "exif_ignored"

# The plugin classes are used directly, not `Image.open`. So no other decoder can run, and a JPEG's appended images
# (MPO) are ignored. Pillow's own pixel limit, which is global and does not report the size, does not apply first.
FORMATS: Final[dict[str, type[ImageFile.ImageFile]]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}

MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)

CHECKS: Final[dict[str, Callable[[bytes, int], None]]] = {
    "JPEG": decompression_bombs.check_scans,
    "TIFF": lambda data, _pixels: decompression_bombs.check_tags(data),
}

# Long side to short side. A longer image shows nothing when resized to a square, and a resize by the short side would
# need many times the upload's own pixels.
MAX_ASPECT = 200

PILLOW: Final = re.compile(r"PIL\.")

ORIENTATION = 0x0112
UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class ImageLimits:
    """What an image's header may declare: the number of pixels, the longest and the shortest side.

    An image may have `free_pixels`, and `pixels_per_byte` more for each byte of the file.
    """

    max_pixels: int = 50_000_000
    max_side: int = 16_384
    min_side: int = 8
    free_pixels: int = 16_000_000
    pixels_per_byte: int = 30


@dataclass(frozen=True)
class DecodedImage:
    """A decoded upload: `image` is upright RGB, without metadata, and may be smaller than the upload (`needed`).

    `width` and `height` are those of the upright upload. `format` and `mode` are Pillow's names for what was sent.
    """

    image: Image.Image
    width: int
    height: int
    format: str
    mode: str
    warnings: tuple[str, ...] = ()


def sniff(data: bytes) -> str | None:
    """Return the format by its first bytes, a key of `FORMATS` or HEIC, or None."""
    for magic, kind in MAGIC:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    brands = _brands(data) if data[4:8] == b"ftyp" else set()
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIC" if brands & heic.BRANDS else None


def accepted_formats() -> list[str]:
    """Return the formats that can be decoded: those of `FORMATS`, and HEIC if its package is installed."""
    return [*FORMATS, *(["HEIC"] if heic.installed() else [])]


def _brands(data: bytes) -> set[bytes]:
    """Return the brands of an ISO base media file (ISO/IEC 14496-12, section 4.3), which tell HEIC from AVIF."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    return {data[start : start + 4] for start in range(8, end, 4)}


def decode(data: bytes, limits: ImageLimits, *, needed: int | None = None) -> DecodedImage:
    """Decode `data` to an upright RGB image. This function may be called from any thread.

    `needed` is the short side, in pixels, that the caller needs. A JPEG may then be decoded at 1/2, 1/4 or 1/8 scale,
    but to no less than twice that side. Raises `UnsupportedMediaType`, `ImageTooLarge`, `ImageTooSmall`,
    `ImageTooCostly`, `ImageCorrupt`, `ImageModeUnsupported` and `MemoryError`.
    """
    kind = sniff(data)
    if kind is None:
        raise UnsupportedMediaType("The bytes are not an image in an accepted format.", accepted=accepted_formats())
    _silence_pillow()
    opened = _open(kind, data, limits)
    mode, (width, height) = opened.mode, opened.size
    image, notes = _pixels(kind, opened, needed)
    transpose, exif_notes = _orientation(opened)
    if transpose is not None:
        image = image.transpose(transpose)
    if transpose in {UPRIGHT[5], UPRIGHT[6], UPRIGHT[7], UPRIGHT[8]}:
        width, height = height, width
    notes += exif_notes + ((FIRST_FRAME_ONLY,) if _has_more_frames(opened) else ())
    # An ICC profile or a transparent colour left here would be written into an image made from this one.
    image.info = {}
    return DecodedImage(image, width, height, kind, mode, notes)


def check_size(width: int, height: int, limits: ImageLimits) -> None:
    """Compare a declared size in pixels with the limits. Raises `ImageTooLarge` or `ImageTooSmall`."""
    long, short = max(width, height), min(width, height)
    if long > limits.max_side:
        raise ImageTooLarge(
            f"The longer side has {long} pixels; at most {limits.max_side} are allowed.",
            limit=limits.max_side,
            actual=long,
        )
    if width * height > limits.max_pixels:
        raise ImageTooLarge(
            f"The image has {width * height} pixels; at most {limits.max_pixels} are allowed.",
            limit=limits.max_pixels,
            actual=width * height,
        )
    shortest = max(limits.min_side, -(-long // MAX_ASPECT))
    if short < shortest:
        raise ImageTooSmall(
            f"The shorter side has {short} pixels; with a longer side of {long} it needs at least {shortest}.",
            limit=shortest,
            actual=short,
        )


def _open(kind: str, data: bytes, limits: ImageLimits) -> ImageFile.ImageFile:
    """Read the header and check it against the limits, without decoding pixels."""
    try:
        plugin = FORMATS[kind] if kind in FORMATS else heic.plugin(accepted_formats())
        opened = plugin(decompression_bombs.BoundedReader(data))
        check_size(*opened.size, limits)
        colour.check_mode(opened.mode)
        pixels = max(opened.width * opened.height, decompression_bombs.check_tiles(opened, limits.max_pixels))
        decompression_bombs.check_pixels_per_byte(
            opened, kind, pixels, limits.free_pixels + limits.pixels_per_byte * len(data)
        )
        if check := CHECKS.get(kind):
            check(data, pixels)
    except (ServiceError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise ImageTooLarge("The image declares more pixels than any limit allows.") from None
    except Exception:  # the bytes caused it, and its message may contain some of them
        raise ImageCorrupt(f"The header of the {kind} data could not be read.") from None
    return opened


def _pixels(kind: str, opened: ImageFile.ImageFile, needed: int | None) -> colour.Flattened:
    try:
        if needed is not None:
            opened.draft(None, (2 * needed, 2 * needed))
        opened.load()
        return colour.to_rgb(opened)
    except MemoryError:
        raise
    except Exception:  # as in _open
        raise ImageCorrupt(f"The {kind} data is damaged or incomplete.") from None


def _orientation(opened: ImageFile.ImageFile) -> tuple[Image.Transpose | None, tuple[str, ...]]:
    """Return how to transpose the image to turn it upright. For a TIFF, Pillow does that and removes the tag."""
    try:
        orientation = opened.getexif().get(ORIENTATION, 1)
        return UPRIGHT.get(orientation), () if orientation in {1, *UPRIGHT} else (EXIF_IGNORED,)
    except Exception:  # as in _open, but an image is not rejected because of its metadata
        return None, (EXIF_IGNORED,)


def _has_more_frames(opened: ImageFile.ImageFile) -> bool:
    """Return whether there is a second frame. `n_frames` would read all of them."""
    try:
        return bool(getattr(opened, "is_animated", False))
    except Exception:  # as in _open; the first frame is already decoded
        return False


_quiet = threading.Lock()


def _silence_pillow() -> None:
    """Suppress Pillow's warnings about damaged images, which the caller gets as errors.

    A filter does it, because `catch_warnings` is not thread-safe. Python cannot suppress what libtiff writes to the
    standard error stream.
    """
    with _quiet:
        if not any(rule[0] == "ignore" and rule[3] == PILLOW for rule in warnings.filters):
            warnings.filterwarnings("ignore", module=PILLOW.pattern)
            logging.getLogger("PIL").setLevel(logging.CRITICAL)
