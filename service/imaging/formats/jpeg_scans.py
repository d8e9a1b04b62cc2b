"""Finds out which coefficients the scans of a JPEG code, from the headers of the scans alone.

A progressive JPEG that ends after some of its scans is a coarser image of the same size, or one without colours.
libjpeg does not say so.
"""

from dataclasses import dataclass, field
from typing import Final

from service.imaging.decompression_bombs import SEGMENT
from service.imaging.image_header import FRAME_MARKERS

SCANS_MISSING = "scans_missing"

START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
PROGRESSIVE: Final = {0xC2, 0xC6, 0xCA, 0xCE}  # Frame markers (ITU-T T.81, table B.1).
COEFFICIENTS: Final = 64  # Of a block of 8 x 8 pixels, in zigzag order. The first is the mean.
ALL: Final = (1 << COEFFICIENTS) - 1  # A bit for each, the lowest for the mean.


@dataclass
class Scans:
    """What the scans of a JPEG code, by component.

    `unseen` has a bit for each coefficient that no scan codes, `inexact` for each that none codes to its last bit.
    `last_is_pixels` says that the last of several scans is the first to code the mean values of its components.
    """

    unseen: dict[int, int] = field(default_factory=dict)
    inexact: dict[int, int] = field(default_factory=dict)
    progressive: bool = False
    last_is_pixels: bool = False

    @property
    def all_coded(self) -> bool:
        """Whether each coefficient of each component is coded to its last bit (ITU-T T.81, G.1.1.1)."""
        return bool(self.inexact) and not any(self.inexact.values())

    @property
    def means_coded(self) -> bool:
        """Whether the mean of each block is coded for each component. Without it a colour is missing."""
        return not any(coefficients & 1 for coefficients in self.unseen.values())

    def add(self, header: bytes) -> None:
        """Count a scan by the content of its header. Raises `IndexError` and `ValueError` if it is cut off.

        A scan of a sequential JPEG has all coefficients. Some cameras write other numbers, which libjpeg ignores, too.
        """
        count = header[0]
        first, last, bits = header[1 + 2 * count : 4 + 2 * count] if self.progressive else (0, COEFFICIENTS - 1, 0)
        others = ALL ^ ((1 << (last + 1)) - (1 << first))
        for component in self.unseen.keys() & set(header[1 : 1 + 2 * count : 2]):
            self.unseen[component] &= others
            if bits & 0x0F == 0:
                self.inexact[component] &= others
        self.last_is_pixels = first == 0 and bits & 0xF0 == 0


def of(data: bytes) -> Scans:
    """Return what the scans code. Of the usual JPEG with one scan, only the bytes before the pixels are read.

    Raises `IndexError` and `ValueError` for headers that are cut off.
    """
    scans, count, at = Scans(), 0, 2
    while not scans.all_coded and (marker := SEGMENT.search(data, at)):
        code, start = marker[1][0], marker.end()
        if code == END_OF_IMAGE:
            break
        length = int.from_bytes(data[start : start + 2], "big")
        body = data[start + 2 : start + length]
        if code in FRAME_MARKERS:
            components = body[6 : 6 + 3 * body[5] : 3]
            scans = Scans(dict.fromkeys(components, ALL), dict.fromkeys(components, ALL), code in PROGRESSIVE)
        if code == START_OF_SCAN:
            scans.add(body)
            count += 1
        at = start + length
    scans.last_is_pixels = scans.last_is_pixels and count > 1
    return scans
