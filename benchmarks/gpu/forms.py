"""The forms in which an engine can run a network: memory formats, and rewrites for inference where the tree has them.

Each is measured alone, with the copies both ways and recorded like the served engine, and its answers are compared.
"""

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import util
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.gpu import rates
from benchmarks.gpu.answers import Reference
from benchmarks.gpu.options import GpuOptions
from benchmarks.gpu.roofline import Ceilings, Work
from service.engines import graph, torch_cpu
from service.engines.cuda.engine import LAYOUTS, CudaEngine, InputConversion
from service.engines.heads import head_of
from service.models.cards import ModelCard

REWRITES = "service.networks.inference_form"  # has `Form`, a dataclass of switches, and `rewrite(network, form)`
HEAD = ("FORM", "IMAGES", "MS", "IMAGES/S", "OF MATRICES", "OF MEMORY")


class NetworkForm(NamedTuple):
    """A memory format, and the rewrites that are on, by name. Each needs those before it."""

    layout: str
    rewrites: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ", ".join((self.layout, *self.rewrites[-1:]))

    def apply(self, network: nn.Module) -> nn.Module:
        """Return the network with the rewrites."""
        if not self.rewrites:
            return network
        module: Any = importlib.import_module(REWRITES)
        rewritten: nn.Module = module.rewrite(network, module.Form(**dict.fromkeys(self.rewrites, True)))
        return rewritten


def forms() -> Iterator[NetworkForm]:
    """Yield every memory format with no rewrite, with the first, with the first two, and so on."""
    names: tuple[str, ...] = ()
    if util.find_spec(REWRITES) is not None:
        names = tuple(each.name for each in dataclasses.fields(importlib.import_module(REWRITES).Form))
    for layout in LAYOUTS:
        for count in range(len(names) + 1):
            yield NetworkForm(layout, names[:count])


def engine(card: ModelCard, form: NetworkForm, options: GpuOptions) -> CudaEngine:
    """Return the engine of the card in a form, with its passes recorded."""
    module = graph.build(card)
    network = form.apply(module.network)
    torch_cpu.halve(network, options.dtype)
    layout, device = LAYOUTS[form.layout], options.device
    with device.active():
        network.to(device.torch_device, memory_format=layout)  # type: ignore[call-overload]
        conversion = InputConversion(module.normalise, options.dtype, layout).to(device.torch_device)
    head = head_of(card)
    run = partial(_run, graph.Graph(conversion, network, head.forward(card)).eval())
    found = CudaEngine(card.name, run, head.postprocess(card, network), device, options.card(card).serving.batch_size)
    found.prepare((card.input.square, card.input.square))
    return found


def _run(whole: nn.Module, images: Tensor) -> Tensor:
    logits: Tensor = whole(images)
    return logits


def measure(
    reference: Reference, limits: Ceilings, options: GpuOptions, work: Callable[[int], Work]
) -> list[dict[str, Any]]:
    """Return the rates and the agreement of each form, at one image and at the largest batch.

    `work` returns the work of a pass in any form by its number of images.

    The result of a form that the device cannot run has the error instead. Of timm's networks there is only one form.
    """
    card = reference.card
    found: list[dict[str, Any]] = []
    sizes = sorted({1, options.card(card).serving.batch_size})
    for form in forms():
        try:
            built = engine(card, form, options)
            by_size = rates.measure(card, built, limits, options, work, sizes)
            agreement = reference.compare(built, options.dtype, str(form))
        except (RuntimeError, torch.OutOfMemoryError) as error:
            found.append({"form": str(form), "failed": str(error).partition("\n")[0]})
            continue
        found.append({"form": str(form), "agreement": agreement, "engine": by_size})
        del built
        options.device.release_memory()
    return found


def rows(found: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return a row for each form and batch size."""
    return [
        row
        for each in found
        for row in (
            [(each["form"], *cells) for cells in rates.rows(each["engine"])]
            if "engine" in each
            else [(each["form"], "-", "-", "-", "-", "-")]
        )
    ]
