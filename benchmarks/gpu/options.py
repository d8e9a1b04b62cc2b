"""The options of a measurement on a device, and the engines and the work that follow from them."""

from dataclasses import dataclass
from typing import Any

import torch

from service.engines.cuda import engine as cuda_engine
from service.engines.cuda.device import Device
from service.engines.cuda.engine import CudaEngine
from service.engines.heads import head_of
from service.models.cards import ModelCard

IMAGES_PER_MASK = 5  # a segmenter takes about as many times longer per image


@dataclass(frozen=True)
class GpuOptions:
    """The options of a run."""

    device: Device
    precision: str
    batch_size: int
    workers: int
    callers: tuple[int, ...]
    seconds: float
    images: int

    def engine(self, card: ModelCard) -> CudaEngine:
        """Load the engine of the card on the device."""
        return cuda_engine.load(self.card(card), str(self.device.torch_device), lambda _: self.device)

    def card(self, card: ModelCard) -> ModelCard:
        """Return the card with the precision and, for a classifier, the batch size of the options."""
        changes: dict[str, Any] = {"precision": self.precision}
        if head_of(card).has_fixed_size:
            changes["batch_size"] = self.batch_size
        return card.model_copy(update={"serving": card.serving.model_copy(update=changes)})

    @property
    def dtype(self) -> torch.dtype:
        """The type in which the engine computes."""
        return cuda_engine.PRECISIONS.get(self.precision, self.device.fastest_dtype)
