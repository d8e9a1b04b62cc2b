"""Special images, assembled byte by byte if no encoder writes them, and the corpus of odd files."""

import csv
import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

CORPUS = Path(__file__).parents[2] / "shared" / "data" / "odd-images"

Pixels = npt.NDArray[np.uint8]

# The options with which each format changes pixels least, and the largest difference, in levels, that remains.
EXACT: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},
    "TIFF": {"compression": "tiff_lzw"},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}
LOSSY = {"JPEG": 8, "AVIF": 8, "GIF": 2}


def upright() -> Pixels:
    """Return RGB pixels, 24 high and 32 wide, without any symmetry: four quarters and a white corner."""
    pixels = np.zeros((24, 32, 3), np.uint8)
    pixels[:12, :16] = (200, 30, 30)
    pixels[:12, 16:] = (30, 160, 30)
    pixels[12:, :16] = (30, 30, 200)
    pixels[12:, 16:] = (120, 120, 120)
    pixels[:6, :8] = 255
    return pixels


def upright_image(mode: str = "RGB") -> Image.Image:
    """Return `upright` as an image of a mode."""
    return Image.fromarray(upright()).convert(mode)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the image as Pillow encodes it."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def written(kind: str, pixels: Pixels | None = None, **options: Any) -> bytes:
    """Return the pixels, or `upright`, encoded as exactly as the format allows."""
    return encode(Image.fromarray(upright() if pixels is None else pixels), kind, **EXACT.get(kind, {}), **options)


def chunk(name: bytes, body: bytes = b"") -> bytes:
    """Return a PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """Return a PNG of a header and these chunks."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND")


def tiff(
    width: int,
    height: int,
    bits: Sequence[int],
    photometric: int,
    body: bytes,
    order: str = "<",
    **further: int | Sequence[int],
) -> bytes:
    """Return an uncompressed TIFF of one strip (TIFF 6.0, section 2). `further` are more tags, by name."""
    tags: dict[int, Sequence[int]] = {
        256: [width], 257: [height], 258: list(bits), 259: [1], 262: [photometric],
        273: [8], 277: [len(bits)], 278: [height], 279: [len(body)],
    }  # fmt: skip
    numbers = {
        "compression": 259, "orientation": 274, "samples": 277, "colours": 320, "tile_width": 322, "tile_length": 323,
        "tile_offsets": 324, "tile_bytes": 325, "extra": 338, "sample_format": 339,
    }  # fmt: skip
    tags |= {numbers[name]: [value] if isinstance(value, int) else value for name, value in further.items()}
    body += b"\0" * (len(body) % 2)
    directory_at = 8 + len(body)
    outside_at = directory_at + 2 + 12 * len(tags) + 4
    directory, outside = struct.pack(order + "H", len(tags)), b""
    for tag in sorted(tags):
        values = struct.pack(f"{order}{len(tags[tag])}I", *tags[tag])
        value_or_offset = values if len(values) == 4 else struct.pack(order + "I", outside_at + len(outside))
        outside += values if len(values) > 4 else b""
        directory += struct.pack(order + "HHI", tag, 4, len(tags[tag])) + value_or_offset
    magic = {"<": b"II*\0", ">": b"MM\0*"}[order]
    return magic + struct.pack(order + "I", directory_at) + body + directory + struct.pack(order + "I", 0) + outside


def profile(space: bytes, connection: bytes, **tags: bytes) -> bytes:
    """Return an ICC profile (ICC.1:2001-04) of a colour space, a connection space and tags."""
    directory, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        directory += name.encode() + struct.pack(">II", at + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"\0" * 4, 0x02400000, b"prtr", space, connection)
    d50 = struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    return (head + b"\0" * 12 + b"acsp" + b"\0" * 28 + d50).ljust(128, b"\0") + directory + body


def with_chunk(data: bytes, name: bytes, body: bytes) -> bytes:
    """Return the PNG with one more chunk after its header."""
    return data[:33] + chunk(name, body) + data[33:]


def with_exif(data: bytes, body: bytes) -> bytes:
    """Return the JPEG with an EXIF segment before all others."""
    return data[:2] + b"\xff\xe1" + struct.pack(">H", 8 + len(body)) + b"Exif\0\0" + body + data[2:]


def grey_profile(gamma: float) -> bytes:
    """Return a profile of grey levels with that gamma."""
    white = b"XYZ \0\0\0\0" + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    return profile(b"GRAY", b"XYZ ", wtpt=white, kTRC=curve)


def black_ink_profile() -> bytes:
    """Return a CMYK profile in which each single ink makes black. No real profile has this obvious effect."""
    ramp = bytes(range(256))
    corners = b"\xff\x80\x80" + b"\x00\x80\x80" * 15
    matrix = struct.pack(">9i", *(0x10000 if i % 4 == 0 else 0 for i in range(9)))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + matrix + ramp * 4 + corners + ramp * 3
    return profile(b"CMYK", b"Lab ", A2B0=table)


def manifest() -> list[dict[str, str]]:
    """Return the corpus's rows: path, format, mode, width, height, frames, exif_orientation, verdict."""
    with (CORPUS / "manifest.csv").open(encoding="utf-8", newline="") as rows:
        return list(csv.DictReader(rows))
