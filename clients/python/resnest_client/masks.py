"""Masks, images and vectors of answers, as Pillow images and NumPy arrays. Both packages are optional."""

import base64
import io
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

    BoolArray = npt.NDArray[np.bool_]
    ByteArray = npt.NDArray[np.uint8]

Coordinates = list[list[list[tuple[float, float]]]]


class Shape(BaseModel):
    """A part of an answer. Members that this version does not know are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class EncodedImage(Shape):
    """A mask, an overlay or a confidence map as a PNG or WebP, with its size in pixels."""

    format: Literal["png", "webp"]
    width: int
    height: int
    data: str

    def to_bytes(self) -> bytes:
        """Return the file's bytes, to write to disk."""
        return base64.b64decode(self.data)

    def to_pillow(self) -> "Image":
        """Return a Pillow image. A mask has the mode `P`: its values are class ids, its palette the colours."""
        from PIL import Image  # noqa: PLC0415 - the extra `pillow`

        image = Image.open(io.BytesIO(self.to_bytes()))
        image.load()
        return image

    def to_numpy(self) -> "ByteArray":
        """Return the pixels, uint8: a mask's class ids `(height, width)`, an overlay's colours `(height, width, 3)`."""
        import numpy as np  # noqa: PLC0415 - the extra `numpy`

        return np.asarray(self.to_pillow())


class Runs(Shape):
    """Pixels as COCO's compressed run lengths. `size` is height and width in pixels."""

    size: tuple[int, int]
    counts: str

    def to_numpy(self) -> "BoolArray":
        """Return a bool array `(height, width)`, true where the object is. Raise `ValueError` for damaged runs."""
        import numpy as np  # noqa: PLC0415 - the extra `numpy`

        height, width = self.size
        lengths = run_lengths(self.counts)
        if min(lengths, default=0) < 0 or sum(lengths) != height * width:
            raise ValueError("the run lengths do not fill the mask")
        values = np.arange(len(lengths)) % 2 == 1
        return np.repeat(values, lengths).reshape(width, height).T


class ClassRuns(Runs):
    """The pixels of one class."""

    class_id: int


class RunLengths(Shape):
    """A mask as run lengths, with an entry for each class, and its size in pixels."""

    format: Literal["rle"]
    width: int
    height: int
    masks: list[ClassRuns]

    def to_numpy(self) -> "ByteArray":
        """Return the class ids, uint8 `(height, width)`. Pixels of no class are 255."""
        import numpy as np  # noqa: PLC0415 - the extra `numpy`

        ids = np.full((self.height, self.width), 255, np.uint8)
        for each in self.masks:
            ids[each.to_numpy()] = each.class_id
        return ids


class Polygons(Shape):
    """A mask as a GeoJSON FeatureCollection (RFC 7946), in pixels from the upper left corner of the image."""

    format: Literal["polygons"]
    width: int
    height: int
    type: Literal["FeatureCollection"]
    features: list[dict[str, Any]]


class InstanceRuns(Runs):
    """The pixels of one detection."""

    format: Literal["rle"]


class InstancePolygons(Shape):
    """The area of one detection as a GeoJSON MultiPolygon, in pixels from the upper left corner of the image."""

    format: Literal["polygons"]
    type: Literal["MultiPolygon"]
    coordinates: Coordinates


def run_lengths(counts: str) -> list[int]:
    """Return the run lengths of COCO's compressed form. Raise `ValueError` if it is damaged.

    Each number is written in groups of five bits, lowest first, from the character "0" on. Bit 6 says that a group
    follows. From the fourth number on, the difference from the number two places before is written (pycocotools).
    """
    lengths: list[int] = []
    value = shift = 0
    for character in counts:
        group = ord(character) - 48
        if not 0 <= group < 64:
            raise ValueError("a run length has an invalid character")
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("the last run length is cut off")
    return lengths
