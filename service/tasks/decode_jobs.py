"""The jobs of decode processes: an upload to the inputs of networks, or to files with something drawn over it.

This module loads only what those processes need. A decoded image lives and dies inside one call, so that what leaves a
process is small.
"""

from collections.abc import Sequence

from service.imaging import decoder, preprocess
from service.models.inputs import Input
from service.tasks import shared_image
from service.tasks.base import DecodedFacts, Layer, Pixels
from service.tasks.shared_image import Block, BlockFields, Shape


def prepare(
    data: bytes, limits: decoder.ImageLimits, specs: Sequence[Input], blocks: Sequence[BlockFields | None] = ()
) -> tuple[DecodedFacts, list[Pixels | Shape]]:
    """Return the facts of an upload and its input for each of `specs`. Raises what `decoder.decode` does.

    An input that is written into its block of `blocks` is returned as its shape.

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
    left = [*blocks, *[None] * (len(specs) - len(blocks))]
    return facts, [_stored(block, inputs[index]) for index, block in enumerate(left)]


def _stored(block: BlockFields | None, pixels: Pixels) -> Pixels | Shape:
    return pixels.shape if block is not None and shared_image.write(Block(*block), pixels) else pixels


def draw(data: bytes, limits: decoder.ImageLimits, layers: Sequence[Layer]) -> list[bytes]:
    """Return the file that each layer makes of the upright image at full size. Raises what `decoder.decode` does.

    The upload is decoded again for it. Kept from the first time, images would fill the memory while they wait for the
    model.
    """
    image = decoder.decode(data, limits).image
    return [layer.draw(image) for layer in layers]
