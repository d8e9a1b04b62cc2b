"""The graphs of a network of several, each compiled by OpenVINO."""

import gc
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from service.engines import graph, multi_graph
from service.engines.multi_graph import MultiGraphEngine
from service.engines.openvino import conversion
from service.engines.openvino import engine as openvino_engine
from service.engines.openvino import runtime as openvino_runtime
from service.engines.openvino.compile_cache import CompileCache
from service.models.cards import CardError, ModelCard
from service.models.weights import checksums

CPU = torch.device("cpu")
# For the work between the graphs. Its small operations lose time with more: on a busy machine of 2 cores, an image took
# 1.6 s of processor time with two threads, and 0.37 s with one.
TORCH_THREADS = 1


class CompiledPart:
    """A compiled graph from one tensor to several. Its outputs are overwritten by the next call."""

    def __init__(self, model: Any, memory: Any) -> None:
        """Take a `model` that reads its weights from `memory`."""
        self._request = model.create_infer_request()
        self._outputs = len(model.outputs)
        self._memory = memory  # last attribute, so that it is freed last

    def __call__(self, given: Tensor) -> tuple[Tensor, ...]:
        """Run the graph, with all threads."""
        self._request.infer([np.ascontiguousarray(given.numpy())], share_inputs=True, share_outputs=True)
        return tuple(torch.from_numpy(self._request.get_output_tensor(index).data) for index in range(self._outputs))


def load(card: ModelCard, _: str = "cpu", cache: CompileCache | None = None) -> MultiGraphEngine:
    """Return the engine of a card's compiled graphs. If all come from the cache, the PyTorch network is never built.

    Raises `CardError` if the weights are missing, have another checksum or do not fit the network, and
    `conversion.ConversionError` if OpenVINO cannot run a graph.
    """
    if not openvino_runtime.is_installed():
        raise CardError(f"{card.name}: OpenVINO is not installed; install resnest-service[worker]")
    if card.serving.precision == "int8":
        raise CardError(f"{card.name}: a network of several graphs has no int8 form")
    torch.set_num_threads(TORCH_THREADS)
    network = multi_graph.of_card(card, graph.skeleton(card), CPU)
    checksums.verify(card)
    cache = cache or CompileCache.of_this_user()
    settings = openvino_engine.settings_of(card)
    key = openvino_engine.key(card, settings["INFERENCE_PRECISION_HINT"])
    contents = {name: cache.read(_cache_name(card, name), key) for name in network.parts}
    try:
        if all(content is not None for content in contents.values()):
            graphs = {name: _imported(content, settings) for name, content in contents.items()}
            return MultiGraphEngine(network, graphs, CPU, "openvino")
    except RuntimeError as error:
        openvino_engine.log.warning("compiling again: a cached graph: %s", openvino_runtime.last_line(error))
    compiled = _compile(card, settings)
    for name, content in compiled.items():
        cache.write(_cache_name(card, name), key, content)
    graphs = {name: _imported(each, settings) for name, each in compiled.items()}
    return MultiGraphEngine(network, graphs, CPU, "openvino")


def _cache_name(card: ModelCard, part: str) -> str:
    return f"{card.name}.{part}"


def _compile(card: ModelCard, settings: dict[str, Any]) -> Mapping[str, memoryview]:
    """Return the file of each compiled graph. Raises as `load` does."""
    form = conversion.fastest_form(settings["INFERENCE_PRECISION_HINT"])
    network = multi_graph.of_card(card, graph.build(card, form).network, CPU)
    found = {}
    for name, part in network.parts.items():
        stream = io.BytesIO()
        model = conversion.convert_part(card, part)
        try:
            openvino_runtime.core().compile_model(model, "CPU", settings).export_model(stream)
        except RuntimeError as error:
            raise conversion.conversion_error(card, error) from error
        found[name] = stream.getbuffer()
        del model
    del network, part
    gc.collect()  # a traced network holds its weights in reference cycles
    return found


def _imported(content: Any, settings: dict[str, Any]) -> CompiledPart:
    """Return a graph from its file, which stays in memory. Raises `RuntimeError` for a file that is none."""
    if len(content) < openvino_engine.MIN_FILE_BYTES:
        raise RuntimeError("the file is too short")
    memory = openvino_runtime.package().Tensor(np.frombuffer(content, np.uint8), shared_memory=True)
    return CompiledPart(openvino_runtime.core().import_model(memory, "CPU", settings), memory)
