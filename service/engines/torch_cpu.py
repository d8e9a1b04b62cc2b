"""The engine that runs a network in eager PyTorch, in single precision or, if the card says so, in bfloat16."""

import logging
import os

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from service.config.cores import threads
from service.engines import graph
from service.engines.heads import head_of
from service.models.cards import CardError, ModelCard
from service.networks.inference_form import Form
from service.tasks.frame import Runtime
from service.tasks.torch_head import BatchArrays, Postprocess, to_arrays

log = logging.getLogger(__name__)

FORM = Form(fold=True, split_attention=True, split_first=True)


class TorchEngine:
    """A graph on a device, in bfloat16 after `halve`. `service.engines.Engine` describes the outputs."""

    def __init__(
        self, network: nn.Module, postprocess: Postprocess, device: torch.device, *, bf16: bool = False
    ) -> None:
        self.runtime = Runtime("torch", device.type)
        self._graph = network
        self._postprocess = postprocess
        self._device = device
        self._bf16 = bf16

    @torch.inference_mode()
    def __call__(self, images: npt.NDArray[np.uint8]) -> BatchArrays:
        """Run one forward pass over `(n, h, w, 3)`."""
        given = graph.to_tensor(images, self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            logits = self._graph(given)
        return to_arrays(self._postprocess(logits, (images.shape[1], images.shape[2])))


def load(card: ModelCard, device: str) -> TorchEngine:
    """Return the card's network with its weights on `device`. Raises `CardError` for missing or unfit weights."""
    refuse_int8(card)
    where = torch.device(device)
    module, head = graph.build(card, FORM), head_of(card)
    if where.type == "cpu":
        torch.set_num_threads(threads(card.serving.threads, os.environ))
        module = module.to(memory_format=head.cpu_layout)  # type: ignore[call-overload]
    bf16 = card.serving.precision == "bf16"
    if bf16 and where.type == "cpu" and not multiplies_bfloat16():
        log.warning(
            "%s: this processor does not multiply bfloat16, so PyTorch takes many times longer than in single"
            ' precision; set precision = "auto" on the card',
            card.name,
        )
    if bf16:
        halve(module)
    return TorchEngine(module.to(where), head.postprocess(card, module.network), where, bf16=bf16)


def multiplies_bfloat16() -> bool:
    """Return whether PyTorch has fast bfloat16 convolutions for this processor.

    On an AMD EPYC with AVX2 alone, the starter segmenter took 30 times as long as in float32.
    """
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # no public name tells it


def refuse_int8(card: ModelCard) -> None:
    """Raise `CardError` if the card asks for int8, which PyTorch does not compute in here."""
    if card.serving.precision == "int8":
        raise CardError(f"{card.name}: int8 runs with OpenVINO on a CPU only, not with PyTorch")


def halve(network: nn.Module, dtype: torch.dtype = torch.bfloat16) -> None:
    """Convert the weights that autocast would convert in every pass to `dtype`. Other weights keep their precision."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.to(dtype)
