"""What is made of an upload's bytes where they are decoded: networks' inputs, or pictures with something drawn on.

These functions run in the processes of `isolation`, so this module loads nothing that those do not need. A decoded
picture lives and dies inside one call; what leaves is small.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from service.imaging import decoder, preprocess
from service.imaging.mask_painting import Painted
from service.models.inputs import Input
from service.tasks.output_checks import Pixels

Layer = Callable[[Image.Image], bytes]


@dataclass(frozen=True)
class Facts:
    """What is told of a decoded upload: its upright size in pixels, file format and mode, and what was given up."""

    width: int
    height: int
    format: str
    mode: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Drawn:
    """What was drawn of an answer in these processes: the files of its layers, and what was painted, if it was here."""

    files: Sequence[bytes] = ()
    painted: Painted | None = None


def prepare(data: bytes, limits: decoder.ImageLimits, specs: Sequence[Input]) -> tuple[Facts, list[Pixels]]:
    """The facts of an upload and its input for each of `specs`. Raises what `decoder.decode` does.

    It is decoded once for all models that need the same side, so that each gets the same pixels as when asked alone.
    """
    by_side: dict[int, list[int]] = {}
    for place, spec in enumerate(specs):
        by_side.setdefault(preprocess.needed_side(spec), []).append(place)
    inputs: dict[int, Pixels] = {}
    for side, places in by_side.items():
        picture = decoder.decode(data, limits, needed=side)
        inputs |= {place: preprocess.prepare(specs[place], picture.image) for place in places}
    facts = Facts(picture.width, picture.height, picture.format, picture.mode, picture.warnings)
    return facts, [inputs[place] for place in range(len(specs))]


def draw(data: bytes, limits: decoder.ImageLimits, layers: Sequence[Layer]) -> list[bytes]:
    """The file that each of `layers` makes of the upright picture at its full size. Raises what `decoder.decode` does.

    The upload is decoded once more for it: kept from the first time, pictures would fill the memory while they wait for
    the model.
    """
    picture = decoder.decode(data, limits).image
    return [layer(picture) for layer in layers]
