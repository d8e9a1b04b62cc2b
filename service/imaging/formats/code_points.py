"""Finds colour spaces that a file names by the code points of ITU-T H.273. Pillow shows their numbers as if sRGB.

Those that differ little from sRGB get no warning.
"""

from typing import Final

COLOUR_SPACE_IGNORED = "colour_space_ignored"

WIDE_PRIMARIES: Final = {9, 10, 11, 12}  # BT.2020, XYZ, P3 with two white points
OTHER_TRANSFERS: Final = {8, 9, 10, 16, 18}  # linear, two logarithms, PQ, HLG

PNG_PIXELS: Final = b"IDAT"
PNG_CODES: Final = b"\0\0\0\x04cICP"
ISO_CODES: Final = b"colrnclx"
ISO_PROFILE: Final = (b"colrprof", b"colrrICC")
ISO_HEADER_BYTES: Final = 65_536


def warnings(kind: str, data: bytes) -> tuple[str, ...]:
    """Return a warning if the file has a wide or high dynamic range, which is not converted."""
    codes = CODES[kind](data) if kind in CODES else None
    different = codes is not None and (codes[0] in WIDE_PRIMARIES or codes[1] in OTHER_TRANSFERS)
    return (COLOUR_SPACE_IGNORED,) if different else ()


def _png(data: bytes) -> tuple[int, int] | None:
    """Return the primaries and the transfer of a cICP chunk, which comes before the pixels."""
    at = data.find(PNG_CODES, 0, max(data.find(PNG_PIXELS), 0))
    return (data[at + 8], data[at + 9]) if at >= 0 else None


def _iso(data: bytes) -> tuple[int, int] | None:
    """Return those of a colour box; None if there is an ICC profile, which is converted."""
    head = data[:ISO_HEADER_BYTES]
    at = head.find(ISO_CODES) + len(ISO_CODES)
    if at < len(ISO_CODES) or len(head) < at + 4 or any(box in head for box in ISO_PROFILE):
        return None
    return int.from_bytes(head[at : at + 2], "big"), int.from_bytes(head[at + 2 : at + 4], "big")


CODES: Final = {"PNG": _png, "AVIF": _iso, "HEIC": _iso}
