"""An upload's bytes to an upright RGB picture, or to an error that the caller can act on.

The order is the defence: the kind of file by its first bytes, its size from the header alone against the limits, and
only then the pixels. The bytes are hostile until decoded, so whatever Pillow raises is the picture's fault.
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

# The plugin classes themselves and not `Image.open`: no other decoder can run, a JPEG's appended pictures (MPO) are
# left alone, and Pillow's own pixel limit, which is global and hides the size it found, does not come before ours.
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

# Long side to short side. Beyond it nothing is left to see in a square, and a resize by the short side would need
# many times the upload's own pixels.
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
    """What a picture's header may declare: pixels in all, the long side at most, the short side at least.

    Beyond `free_pixels` its bytes must be worth its pixels: so many for each.
    """

    max_pixels: int = 50_000_000
    max_side: int = 16_384
    min_side: int = 8
    free_pixels: int = 16_000_000
    pixels_per_byte: int = 30


@dataclass(frozen=True)
class DecodedImage:
    """A decoded upload: `image` is upright RGB, without metadata, and may be smaller than the upload (`needed`).

    `width` and `height` are the upright upload's own; `format` and `mode` are Pillow's words for what was sent.
    """

    image: Image.Image
    width: int
    height: int
    format: str
    mode: str
    warnings: tuple[str, ...] = ()


def sniff(data: bytes) -> str | None:
    """The format that the first bytes say, a key of `FORMATS` or HEIC, or None."""
    for magic, kind in MAGIC:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    brands = _brands(data) if data[4:8] == b"ftyp" else set()
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIC" if brands & heic.BRANDS else None


def accepted() -> list[str]:
    """The formats that are read: those of `FORMATS`, and HEIC where its package is installed."""
    return [*FORMATS, *(["HEIC"] if heic.installed() else [])]


def _brands(data: bytes) -> set[bytes]:
    """The brands of an ISO base media file (ISO/IEC 14496-12, section 4.3); HEIC and AVIF differ only by them."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    return {data[start : start + 4] for start in range(8, end, 4)}


def decode(data: bytes, limits: ImageLimits, *, needed: int | None = None) -> DecodedImage:
    """The picture in `data`, upright and RGB. It may be called from any thread.

    `needed` is the short side, in pixels, that the caller goes on with: a JPEG may then be decoded at 1/2, 1/4 or 1/8
    scale, to no less than twice that. Raises `UnsupportedMediaType`, `ImageTooLarge`, `ImageTooSmall`,
    `ImageTooCostly`, `ImageCorrupt`, `ImageModeUnsupported` and `MemoryError`.
    """
    kind = sniff(data)
    if kind is None:
        raise UnsupportedMediaType("The bytes are no picture of an accepted format.", accepted=accepted())
    _quieten_pillow()
    opened = _open(kind, data, limits)
    mode, (width, height) = opened.mode, opened.size
    image, notes = _pixels(kind, opened, needed)
    turn, turn_notes = _turn(opened)
    if turn is not None:
        image = image.transpose(turn)
    if turn in {UPRIGHT[5], UPRIGHT[6], UPRIGHT[7], UPRIGHT[8]}:
        width, height = height, width
    notes += turn_notes + ((FIRST_FRAME_ONLY,) if _has_more_frames(opened) else ())
    # An ICC profile or a transparent colour left here would be written into a picture made from this one.
    image.info = {}
    return DecodedImage(image, width, height, kind, mode, notes)


def check_size(width: int, height: int, limits: ImageLimits) -> None:
    """Hold a declared size in pixels against the limits. Raises `ImageTooLarge` or `ImageTooSmall`."""
    long, short = max(width, height), min(width, height)
    if long > limits.max_side:
        raise ImageTooLarge(
            f"The longer side has {long} pixels, {limits.max_side} are allowed.", limit=limits.max_side, actual=long
        )
    if width * height > limits.max_pixels:
        raise ImageTooLarge(
            f"The picture has {width * height} pixels, {limits.max_pixels} are allowed.",
            limit=limits.max_pixels,
            actual=width * height,
        )
    shortest = max(limits.min_side, -(-long // MAX_ASPECT))
    if short < shortest:
        raise ImageTooSmall(
            f"The shorter side has {short} pixels; beside {long} it needs {shortest}.", limit=shortest, actual=short
        )


def _open(kind: str, data: bytes, limits: ImageLimits) -> ImageFile.ImageFile:
    """The header read and found acceptable; no pixel is decoded."""
    try:
        plugin = FORMATS[kind] if kind in FORMATS else heic.plugin(accepted())
        opened = plugin(decompression_bombs.BoundedReader(data))
        check_size(*opened.size, limits)
        colour.check_mode(opened.mode)
        pixels = max(opened.width * opened.height, decompression_bombs.check_tiles(opened, limits.max_pixels))
        decompression_bombs.check_worth(opened, kind, pixels, limits.free_pixels + limits.pixels_per_byte * len(data))
        if check := CHECKS.get(kind):
            check(data, pixels)
    except (ServiceError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise ImageTooLarge("The picture declares more pixels than any that is accepted.") from None
    except Exception:  # whatever it is, the bytes are to blame, and its message may hold some of them
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
        raise ImageCorrupt(f"The {kind} data is damaged or ends too early.") from None


def _turn(opened: ImageFile.ImageFile) -> tuple[Image.Transpose | None, tuple[str, ...]]:
    """How to turn the picture upright. Pillow itself turns a TIFF, and takes the tag away."""
    try:
        orientation = opened.getexif().get(ORIENTATION, 1)
        return UPRIGHT.get(orientation), () if orientation in {1, *UPRIGHT} else (EXIF_IGNORED,)
    except Exception:  # as in _open; a picture is not refused for its camera's notes
        return None, (EXIF_IGNORED,)


def _has_more_frames(opened: ImageFile.ImageFile) -> bool:
    """Whether a second frame begins: `n_frames` would read all of them."""
    try:
        return bool(getattr(opened, "is_animated", False))
    except Exception:  # as in _open; the first frame is already decoded
        return False


_quiet = threading.Lock()


def _quieten_pillow() -> None:
    """Keep Pillow from telling of the damage that we answer for: a filter, as `catch_warnings` is not thread-safe.

    libtiff's own lines on the standard error stream are out of Python's reach.
    """
    with _quiet:
        if not any(rule[0] == "ignore" and rule[3] == PILLOW for rule in warnings.filters):
            warnings.filterwarnings("ignore", module=PILLOW.pattern)
            logging.getLogger("PIL").setLevel(logging.CRITICAL)
