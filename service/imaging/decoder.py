"""Decodes an upload's bytes to an upright RGB image, or raises an error that the caller can act on.

The order protects the service: first the format by its first bytes, then the size in the header against the limits,
and only then the pixels. The bytes are untrusted until decoded, so any exception of Pillow is an error of the image.
"""

import io
import logging
import re
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
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

from service.errors import (
    ImageCorrupt,
    ImageKindUnsupported,
    ImageTooLarge,
    ImageTooSmall,
    ServiceError,
    UnsupportedMediaType,
)
from service.imaging import colour, decompression_bombs
from service.imaging.formats import (
    ancillary,
    code_points,
    corrections,
    heic,
    jpeg_end,
    missing_rows,
    orientation,
    unsupported,
)

FIRST_FRAME_ONLY = "first_frame_only"

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

# Of the needed side: a JPEG is decoded to no less. `benchmarks.costs.reduced_jpeg` measures what a lower one changes.
LEAST_SCALE: Final = 2

PILLOW: Final = re.compile(r"PIL\.")

NO_IMAGE = "The bytes are not an image in an accepted format."


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
    `ImageTooCostly`, `ImageCorrupt`, `ImageKindUnsupported`, `ImageModeUnsupported` and `MemoryError`.

    A file that cannot be read is read once more without the parts that its pixels do not need.
    """
    kind = sniff(data)
    if kind is None:
        raise UnsupportedMediaType(_unknown(data), accepted=accepted_formats())
    if kind == "TIFF" and (reason := unsupported.hidden_image(data)):
        raise ImageKindUnsupported(reason)
    _silence_pillow()
    try:
        return _decode(kind, data, limits, needed)
    except (ImageCorrupt, ImageTooSmall) as error:
        if variant := unsupported.variant(kind, data):
            raise ImageKindUnsupported(f"This kind of {kind} is not read: {variant}.") from None
        essential = ancillary.without(kind, data)
        if essential is None or error.limit is not None:  # a limit on the cost holds for the whole file
            raise
    decoded = _decode(kind, essential[0], limits, needed)
    return replace(decoded, warnings=decoded.warnings + essential[1])


def _unknown(data: bytes) -> str:
    found = unsupported.format_of(data)
    return f"The bytes are not an image in an accepted format. They are {found}." if found else NO_IMAGE


def _decode(kind: str, data: bytes, limits: ImageLimits, needed: int | None) -> DecodedImage:
    opened = _open(kind, data, limits)
    mode, (width, height) = opened.mode, opened.size
    notes: tuple[str, ...] = ()
    if kind == "JPEG" and not data.endswith(jpeg_end.END) and jpeg_end.find(data) is None:
        data, notes = jpeg_end.completed(data, _loader(needed)), (jpeg_end.END_MISSING,)
        opened = _open(kind, data, limits)
    image, losses = _pixels(kind, opened, data, needed)
    transpose, exif_notes = orientation.of(opened)
    if transpose is not None:
        image = image.transpose(transpose)
    if transpose in orientation.SIDES_SWAPPED:
        width, height = height, width
    notes += losses + exif_notes + ((FIRST_FRAME_ONLY,) if _has_more_frames(opened) else ())
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
        plugin = corrections.plugin(data) if kind == "TIFF" else FORMATS.get(kind) or heic.plugin(accepted_formats())
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


def _pixels(kind: str, opened: ImageFile.ImageFile, data: bytes, needed: int | None) -> colour.Flattened:
    try:
        _load(opened, needed)
        notes = jpeg_end.check(data, opened, _loader(needed)) if kind == "JPEG" else ()
        missing_rows.check(kind, opened, data, _loader(None))
        image, losses = colour.to_rgb(corrections.corrected(kind, opened, data))
        return image, notes + losses + code_points.warnings(kind, data)
    except (ServiceError, MemoryError):
        raise
    except Exception:  # as in _open
        raise ImageCorrupt(f"The {kind} data is damaged or incomplete.") from None


def _load(opened: ImageFile.ImageFile, needed: int | None) -> Image.Image:
    if needed is not None:
        opened.draft(None, (LEAST_SCALE * needed, LEAST_SCALE * needed))
    opened.load()
    return opened


def _loader(needed: int | None) -> jpeg_end.Load:
    return lambda data: _load(JpegImagePlugin.JpegImageFile(io.BytesIO(data)), needed)


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
