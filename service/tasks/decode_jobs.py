"""The jobs of decode processes: an upload to the inputs of networks, or to files with something drawn over it.

This module loads only what those processes need. A decoded image lives and dies inside one call, so that what leaves a
process is small.
"""

from collections.abc import Sequence

from service.imaging import decoder, preprocess
from service.models.inputs import Input
from service.tasks.base import DecodedFacts, Layer, Pixels


def prepare(data: bytes, limits: decoder.ImageLimits, specs: Sequence[Input]) -> tuple[DecodedFacts, list[Pixels]]:
    """Return the facts of an upload and its input for each of `specs`. Raises what `decoder.decode` does.

    The upload is decoded once for all models that need the same side, so that each model gets the same pixels as when
    it is asked alone.
    """
    by_side: dict[int, list[int]] = {}
    for index, spec in enumerate(specs):
        by_side.setdefault(preprocess.needed_side(spec), []).append(index)
    inputs: dict[int, Pixels] = {}
    for side, indices in by_side.items():
        decoded = decoder.decode(data, limits, needed=side)
        inputs |= {index: preprocess.prepare(specs[index], decoded.image) for index in indices}
    facts = DecodedFacts(decoded.width, decoded.height, decoded.format, decoded.mode, decoded.warnings)
    return facts, [inputs[index] for index in range(len(specs))]


def draw(data: bytes, limits: decoder.ImageLimits, layers: Sequence[Layer]) -> list[bytes]:
    """Return the file that each layer makes of the upright image at full size. Raises what `decoder.decode` does.

    The upload is decoded again for it. Kept from the first time, images would fill the memory while they wait for the
    model.
    """
    image = decoder.decode(data, limits).image
    return [layer(image) for layer in layers]
