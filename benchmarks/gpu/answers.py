"""The answers of an engine on a device, compared with those of PyTorch in single precision on the CPU."""

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import click
import numpy as np
import torch

from benchmarks import made_models
from benchmarks.gpu.options import IMAGES_PER_MASK, GpuOptions
from service.engines import Engine, Images, torch_cpu
from service.engines.heads import head_of
from service.imaging import preprocess
from service.measure.accuracy.scoring import scoring_of
from service.models.cards import ModelCard
from service.tasks.torch_head import BatchArrays
from tests.engines import numerics

NAMES = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}
# The minimum share of equal pixels, and the maximum mean difference of scores, of a made segmenter in 16 bits. Its
# weights are random, so two of its classes are often close. Plain PyTorch in bf16 has 88 to 92 % of the pixels of fp32.
EQUAL_OF_RANDOM_MASKS, TOLERANCE_OF_RANDOM_MASKS = 0.8, 2e-2


@dataclasses.dataclass(frozen=True)
class Reference:
    """Batches of preprocessed images, and the outputs of PyTorch in single precision for each."""

    card: ModelCard
    batches: Sequence[Images]
    outputs: Sequence[BatchArrays]

    @classmethod
    def of(cls, card: ModelCard, options: GpuOptions) -> "Reference":
        """Compute the outputs, in batches of many sizes."""
        exact = card.serving.model_copy(update={"precision": "fp32"})
        engine = torch_cpu.load(card.model_copy(update={"serving": exact}), "cpu")
        made = list(batches(card, options))
        return cls(card, made, [engine(batch) for batch in made])

    def compare(self, engine: Engine, dtype: torch.dtype, form: str = "") -> dict[str, Any]:
        """Compare the engine's outputs with these, and print the result. `form` names that of its network."""
        ours = [engine(batch) for batch in self.batches]
        found = numerics.compare(ours, self.outputs, scoring_of(self.card.task))
        holds = is_close(found, self.card, dtype)
        click.echo(
            f"{self.card.name}{f', {form}' if form else ''}: of {found.images} images {found.equal:.2%} equal, "
            f"scores {found.difference:.1e} apart{'' if holds else ' - TOO FAR'}"
        )
        return {"model": self.card.name, "form": form, **dataclasses.asdict(found), "holds": holds}


def is_close(found: numerics.Agreement, card: ModelCard, dtype: torch.dtype) -> bool:
    """Return whether an engine of this type answers as closely to single precision as rounding allows."""
    if dtype == torch.float32 or head_of(card).has_fixed_size or card.source != made_models.SOURCE:
        return found.holds(NAMES[dtype])
    return found.equal >= EQUAL_OF_RANDOM_MASKS and found.difference <= TOLERANCE_OF_RANDOM_MASKS


def batches(card: ModelCard, options: GpuOptions) -> Iterator[Images]:
    """Yield batches of preprocessed images. A segmenter's images have many shapes, so each is a batch."""
    count = options.images if head_of(card).has_fixed_size else options.images // IMAGES_PER_MASK
    prepared = [preprocess.prepare(card.input, each) for each in numerics.parts(count)]
    sizes = cycle([1, 3, options.batch_size, 2, 7] if head_of(card).has_fixed_size else [1])
    while prepared:
        size = next(sizes)
        yield np.stack(prepared[:size])
        del prepared[:size]
