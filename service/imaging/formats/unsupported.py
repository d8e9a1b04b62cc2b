"""Names the variants of accepted formats, and other formats, that this service does not read.

`variant` is asked about a file that the decoder has refused, so a newer decoder may read more. `hidden_image` is asked
about each TIFF: a decoder would show the thumbnail of a camera's raw file.
"""

import re
import struct
from collections.abc import Callable
from typing import Final

from service.imaging.decompression_bombs import SEGMENT
from service.imaging.formats.file_names import name_in
from service.imaging.image_header import tiff_tags

RAW_FILE: Final = "a camera's raw file: export it as a JPEG"

# Known by their first bytes (or those after an offset), but not read.
OTHERS: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"FUJIFILMCCD-RAW", RAW_FILE),
    (0, b"IIU\0", RAW_FILE),  # Panasonic
    (0, b"IIRO", RAW_FILE),  # Olympus
    (0, b"IIRS", RAW_FILE),
    (0, b"MMOR", RAW_FILE),
    (0, b"FOVb", RAW_FILE),  # Sigma
    (4, b"ftypcrx ", RAW_FILE),  # Canon, CR3
    (6, b"HEAPCCDR", RAW_FILE),  # Canon, CRW
    (0, b"%PDF-", "a PDF: export its pages as PNG"),
    (0, b"8BPS", "a Photoshop document: export it as a JPEG or PNG"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"DICM", "DICOM"),
    (128, b"DICM", "DICOM: export the frame as PNG"),
    (0, b"\0\0\x01\0", "an icon (ICO)"),
    (0, b"<svg", "SVG, which has no pixels: render it as PNG"),
    (0, b"<?xml", "XML or SVG, which has no pixels: render it as PNG"),
    (0, b"<!DOCTYPE", "an HTML page: check the address that you downloaded it from"),
    (0, b"<html", "an HTML page: check the address that you downloaded it from"),
    (0, b"PK\x03\x04", "a ZIP archive: send the images in it"),
    (0, b"\x1f\x8b", "compressed with gzip: send the image itself"),
    (4, b"ftypmp4", "a video: send single frames"),
    (4, b"ftypisom", "a video: send single frames"),
    (4, b"ftypqt  ", "a video: send single frames"),
    (0, b"\x1aE\xdf\xa3", "a video: send single frames"),
    (0, b"version https://git-lfs", "a pointer of Git LFS: fetch the file itself"),
    (4, b"ftypM4V", "a video: send single frames"),
    (4, b"ftypavc1", "a video: send single frames"),
    (8, b"AVI LIST", "a video: send single frames"),
    (4, b"ftypmif1", "HEIF with another codec than HEVC or AV1: export it as a JPEG"),
    (4, b"ftypmsf1", "HEIF with another codec than HEVC or AV1: export it as a JPEG"),
    (0, b"II\xbc\x01", "JPEG XR"),
    (0, b"\x93NUMPY", "a NumPy array: save it as PNG"),
    (0, b"\x89HDF\r\n", "HDF5: save the image in it as PNG"),
    (0, b"v/1\x01", "OpenEXR: save it as PNG"),
    (0, b"#?RADIANCE", "Radiance HDR: save it as PNG"),
    (0, b"qoif", "QOI"),
    (0, b"DDS ", "a DirectDraw surface (DDS)"),
    (0, b"gimp xcf", "a document of GIMP: export it as PNG"),
    (0, b"%!PS", "PostScript: export its pages as PNG"),
    (0, b"P5\n", "PGM: save it as PNG"),
    (0, b"P6\n", "PPM: save it as PNG"),
    (0, b"7z\xbc\xaf", "a 7z archive: send the images in it"),
    (0, b"Rar!", "a RAR archive: send the images in it"),
    (0, b'{"', "JSON: send it with Content-Type: application/json"),
    (0, b"HTTP/1.", "an HTTP response with its head: send only its body"),
    (0, b"http://", "a URL: send the image itself, because the service fetches none"),
    (0, b"https://", "a URL: send the image itself, because the service fetches none"),
    (0, b"data:", "a data: URI: send it in JSON, or the bytes that it encodes"),
    (0, b"/9j/", "a JPEG in base64: send it in JSON, or the bytes that it encodes"),
    (0, b"iVBORw0KGgo", "a PNG in base64: send it in JSON, or the bytes that it encodes"),
)

# How the first bytes of a file look after a change that cannot be undone. PNG's were chosen to show such changes.
CHANGED: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x89PNG\n\x1a", "a PNG whose line ends were changed: transfer it in binary mode"),
    (b"\x89PNG\r\r\n", "a PNG whose line ends were changed: transfer it in binary mode"),
    (b"\xc2\x89PNG", "a PNG that was encoded as UTF-8 text: send its bytes unchanged"),
    (b"\xef\xbf\xbdPNG", "a PNG that was decoded as UTF-8 text: send its bytes unchanged"),
    (b"?PNG\r\n", "a PNG that was decoded as text: send its bytes unchanged"),
    (b"\xc3\xbf\xc3\x98\xc3\xbf", "a JPEG that was encoded as UTF-8 text: send its bytes unchanged"),
    (b"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", "a file that was decoded as UTF-8 text: send its bytes unchanged"),
)

# An image behind a byte order mark, a line end or the head of a form. JPEG, PNG and GIF have first bytes that are rare.
BEGINNING: Final = re.compile(rb"\xff\xd8\xff[\xe0-\xef\xdb]|\x89PNG\r\n\x1a\n|GIF8[79]a")
SEARCHED_BYTES: Final = 1024
FORM: Final = re.compile(rb"--[^\r\n]{1,70}\r\n(?:[^\r\n]+\r\n)*?content-disposition:", re.IGNORECASE)

# Frame markers of ITU-T T.81, table B.1, and of T.87.
JPEG_FRAMES: Final = {
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "lossless"),
    **dict.fromkeys((0xC5, 0xC6, 0xCD, 0xCE, 0xDE), "hierarchical"),
    0xF7: "JPEG-LS",
}
JPEG_READ: Final = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
JPEG_COMPONENTS: Final = {1, 3, 4}

BMP_BITS: Final = {1, 4, 8, 16, 24, 32}
MAX_BMP_BITS: Final = 64  # GDI+; a larger number is damage
BMP_BITFIELDS: Final = {3, 6}  # compressions whose bit masks follow the header
BMP_MASKS: Final = {  # those that Pillow reads
    (0xF800, 0x7E0, 0x1F),
    (0x7C00, 0x3E0, 0x1F),
    (0xFF0000, 0xFF00, 0xFF),
    (0xFF000000, 0xFF0000, 0xFF00),
    (0xFF000000, 0xFF00, 0xFF),
    (0xFF, 0xFF00, 0xFF0000),
    (0, 0, 0),
}
BMP_COMPRESSIONS: Final = {4: "a JPEG in a BMP", 5: "a PNG in a BMP", 11: "CMYK", 12: "CMYK, run lengths", 13: "CMYK"}

SUBFILE_TYPE, BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC, SAMPLE_FORMAT, DNG_VERSION = 254, 258, 259, 262, 339, 50706
SAMPLE_FORMATS: Final = {
    2: "with signed values",
    3: "with floating-point values",
    5: "with complex values",
    6: "with complex values",
}
TIFF_BITS: Final = 16
SIGNED: Final = 2
REDUCED: Final = 1  # Bit of SUBFILE_TYPE for a reduced copy of another image.
SENSOR_VALUES: Final = {32803, 34892}  # PHOTOMETRIC of raw values: filtered, linear.
# TIFF 6.0 and its supplements: none, CCITT, LZW, JPEG, Deflate and PackBits. libtiff may be built without the others.
TIFF_READ: Final = {1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946}


def format_of(data: bytes) -> str | None:
    """Return what these bytes are, if they are of a known format that is not read."""
    text = data[:64].lstrip().lower()
    for offset, magic, name in OTHERS:
        if data.startswith(magic, offset) or (magic.startswith(b"<") and text.startswith(magic.lower())):
            return name
    for beginning, name in CHANGED:
        if data.startswith(beginning):
            return name
    if name_in(data):
        return "the name of a file, not its content: with curl, write @ before the name"
    if FORM.match(data[:SEARCHED_BYTES]):
        return "a form: send it with the Content-Type that your HTTP library makes, which has the boundary"
    if image := BEGINNING.search(data[:SEARCHED_BYTES], 1):
        return f"an image with {image.start()} other bytes before it: send it without them"
    return None


def variant(kind: str, data: bytes) -> str | None:
    """Return the variant of the format `kind` that is not read; None if the file is a usual one."""
    try:
        return VARIANTS[kind](data) if kind in VARIANTS else None
    except (IndexError, struct.error):
        return None


def hidden_image(data: bytes) -> str | None:
    """Return why a decoder would show another image than the first image of a TIFF means; None if it would not."""
    tags = tiff_tags(data)
    if data[8:10] == b"CR" or DNG_VERSION in tags or tags.get(PHOTOMETRIC) in SENSOR_VALUES:
        return f"The file is {RAW_FILE}."
    if tags.get(SAMPLE_FORMAT) == SIGNED and tags.get(BITS_PER_SAMPLE) == 8:
        return "The TIFF has signed values of 8 bits, and black is not defined for them. Save it with unsigned values."
    if tags.get(SUBFILE_TYPE, 0) & REDUCED:
        return (
            "The first image of the TIFF is a reduced copy of another one. If this is a camera's raw file, export it "
            "as a JPEG; else save the full image alone."
        )
    return None


def _jpeg(data: bytes) -> str | None:
    at = 2
    while marker := SEGMENT.search(data, at):
        code, start = marker[1][0], marker.end()
        if code in JPEG_FRAMES:
            return JPEG_FRAMES[code]
        if code in JPEG_READ:
            bits, height, components = data[start + 2], data[start + 3 : start + 5], data[start + 7]
            if bits != 8:
                return f"with {bits} bits a colour"
            if height == b"\0\0":
                return "with its height after the pixels (DNL)"
            if components not in JPEG_COMPONENTS:
                return f"with {components} colours"
            return "with fractional sampling" if _is_fractional(data[start + 8 : start + 8 + 3 * components]) else None
        at = start + int.from_bytes(data[start : start + 2], "big")
    return None


def _is_fractional(components: bytes) -> bool:
    """Return whether a colour has no whole number of samples for each of another (ITU-T T.81, A.1.1)."""
    for factors in ([each >> 4 for each in components[1::3]], [each & 0x0F for each in components[1::3]]):
        if any(each == 0 or max(factors) % each for each in factors):
            return True
    return False


def _png(data: bytes) -> str | None:
    return "for Apple's devices (CgBI)" if data[12:16] == b"CgBI" else None


def _bmp(data: bytes) -> str | None:
    header, compression = struct.unpack_from("<I", data, 14)[0], struct.unpack_from("<I", data, 30)[0]
    if header < 40:
        return None
    bits = struct.unpack_from("<H", data, 28)[0]
    if bits not in BMP_BITS and bits <= MAX_BMP_BITS:
        return f"with {bits} bits a pixel"
    if compression in BMP_BITFIELDS and struct.unpack_from("<3I", data, 54) not in BMP_MASKS:
        return "with unusual bit masks"
    return BMP_COMPRESSIONS.get(compression)


def _tiff(data: bytes) -> str | None:
    tags = tiff_tags(data)
    compression = tags.get(COMPRESSION, 1)
    if compression not in TIFF_READ:
        return f"with compression {compression}"
    if kind := SAMPLE_FORMATS.get(tags.get(SAMPLE_FORMAT, 1)):
        return kind
    return f"with {bits} bits a sample" if (bits := tags.get(BITS_PER_SAMPLE, 1)) > TIFF_BITS else None


VARIANTS: Final[dict[str, Callable[[bytes], str | None]]] = {"JPEG": _jpeg, "PNG": _png, "BMP": _bmp, "TIFF": _tiff}
