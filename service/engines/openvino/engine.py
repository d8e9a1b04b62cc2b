"""The OpenVINO engine for the CPU: the network compiled by OpenVINO, in bfloat16 if the processor supports it."""

import gc
import hashlib
import io
import json
import logging
import os
import platform
import sys
import threading
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from service import networks
from service.config.cores import threads
from service.engines import graph
from service.engines.heads import head_of
from service.engines.openvino import conversion
from service.engines.openvino import runtime as openvino_runtime
from service.engines.openvino.compile_cache import CompileCache
from service.engines.openvino.streams import Streams
from service.models.cards import CardError, ModelCard
from service.models.weights import checksums
from service.tasks import task_of, torch_head
from service.tasks.frame import Runtime
from service.tasks.torch_head import BatchArrays, Postprocess, to_arrays

log = logging.getLogger("service.worker")

MIN_FILE_BYTES = 48  # header of a compiled model, which OpenVINO reads without a length check
PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16"}  # with int8, the operations that are not quantised use one of them


class OpenVinoEngine:
    """A compiled network; see `service.engines.Engine` for its outputs. Threads may call it at the same time.

    The parts of two batches then share the streams, so that none waits while the last parts of a batch are computed.

    The first batch of each size or shape takes 25 to 100 ms longer, while its kernels are compiled.
    """

    def __init__(self, model: Any, postprocess: Postprocess, streams: Streams | None, memory: Any) -> None:
        """Take a `model` that uses all threads, for the rest of a batch that the `streams` cannot share equally.

        Both read their weights from `memory`.
        """
        self.runtime = Runtime("openvino", "cpu")
        self.threads = int(model.get_property("INFERENCE_NUM_THREADS"))
        self._request = model.create_infer_request()
        self._request_in_use = threading.Lock()
        self._postprocess = postprocess
        self.streams = streams
        self._memory = memory  # last attribute, so that it is freed last

    @torch.inference_mode()
    def __call__(self, images: npt.NDArray[np.uint8]) -> BatchArrays:
        """Run one forward pass over images `(n, h, w, 3)`."""
        logits = torch.from_numpy(self._logits(np.ascontiguousarray(images)))
        return to_arrays(self._postprocess(logits, (images.shape[1], images.shape[2])))

    def _logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        outputs = []
        rest = len(images) if self.streams is None else len(images) % self.streams.count
        if self.streams is not None and rest < len(images):
            outputs.append(self.streams.infer(images[: len(images) - rest]))
        if rest:
            with self._request_in_use:
                outputs.append(self._request.infer([images[len(images) - rest :]])[0])
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)


def load(card: ModelCard, _: str = "cpu", cache: CompileCache | None = None) -> OpenVinoEngine:
    """Return the compiled network of the card. If it comes from the cache, the PyTorch network is never built.

    Raises `CardError` if the weights are missing, have another checksum or do not fit the network, and
    `conversion.ConversionError` if OpenVINO cannot run the network.
    """
    if not openvino_runtime.is_installed():
        raise CardError(f"{card.name}: OpenVINO is not installed; install resnest-service[worker]")
    cache = cache or CompileCache.of_this_user()
    postprocess = head_of(card).postprocess(card, graph.skeleton(card))
    checksums.verify(card)
    if card.serving.precision == "int8":
        checksums.read_int8(card)
    settings = settings_of(card)
    name = key(card, settings["INFERENCE_PRECISION_HINT"])
    content = cache.read(card.name, name)
    cached = None if content is None else _from_cache(card, settings, content, postprocess)
    return cached or _compile_and_cache(card, settings, cache, name, postprocess)


def _compile_and_cache(
    card: ModelCard, settings: dict[str, Any], cache: CompileCache, name: str, postprocess: Postprocess
) -> OpenVinoEngine:
    """Compile the network, cache the result and return its engine. Raises as `load` does."""
    stream = io.BytesIO()
    compile_model(card, settings).export_model(stream)
    cache.write(card.name, name, stream.getbuffer())
    try:
        return _engine(card, settings, stream.getbuffer(), postprocess)
    except RuntimeError as error:
        raise conversion.conversion_error(card, error) from error


def _from_cache(
    card: ModelCard, settings: dict[str, Any], content: bytearray, postprocess: Postprocess
) -> OpenVinoEngine | None:
    try:
        return _engine(card, settings, content, postprocess)
    except RuntimeError as error:
        log.warning("compiling again, because the cached model is unusable: %s", openvino_runtime.last_line(error))
        return None


def _engine(
    card: ModelCard, settings: dict[str, Any], content: bytearray | memoryview, postprocess: Postprocess
) -> OpenVinoEngine:
    """Return the engine of a compiled model's file. The file stays in memory, and all streams share its weights."""
    if len(content) < MIN_FILE_BYTES:
        raise RuntimeError("the file is too short")
    memory = openvino_runtime.package().Tensor(np.frombuffer(content, np.uint8), shared_memory=True)
    model = openvino_runtime.core().import_model(memory, "CPU", settings)
    count = min(int(model.get_property("INFERENCE_NUM_THREADS")), card.serving.batch_size)
    if count == 1:
        return OpenVinoEngine(model, postprocess, None, memory)
    several = openvino_runtime.core().import_model(memory, "CPU", {**settings, "NUM_STREAMS": count})
    return OpenVinoEngine(model, postprocess, Streams(several), memory)


def native_bf16() -> bool:
    """Return whether this processor multiplies bfloat16. One that only emulates it is faster in float32."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def settings_of(card: ModelCard) -> dict[str, Any]:
    """Return the properties with which a card's network is compiled and imported."""
    hint = PRECISION_HINTS.get(card.serving.precision) or PRECISION_HINTS["bf16" if native_bf16() else "fp32"]
    return {
        "INFERENCE_PRECISION_HINT": hint,
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads(card.serving.threads, os.environ),
        "ENABLE_CPU_PINNING": False,
    }


def compile_model(card: ModelCard, settings: dict[str, Any]) -> Any:
    """Return the compiled model of a card. Raises `CardError` and `ConversionError` as `load` does."""
    model = conversion.load_model(card, settings["INFERENCE_PRECISION_HINT"])
    try:
        return openvino_runtime.core().compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise conversion.conversion_error(card, error) from error
    finally:
        del model
        gc.collect()  # a traced network holds its weights in reference cycles: 110 MB for a ResNeSt-50


def key(card: ModelCard, precision: str) -> str:
    """Return the cache key: a hash of all that the compiled model depends on."""
    facts = {
        "weights": card.checksum,
        "network": card.network.model_dump(),
        "library": metadata.version("timm") if card.network.library == "timm" else "",
        "input": [card.input.mean, card.input.std, card.input.size],
        "precision": precision,
        "int8": card.int8.sha256 if card.int8 and card.serving.precision == "int8" else "",
        "task": card.task,
        "features": card.calibration is not None and card.calibration.domain is not None,
        "code": _code(card),
        "compiler": openvino_runtime.package().get_version(),
        "processor": [platform.machine(), openvino_runtime.core().get_property("CPU", "FULL_DEVICE_NAME")],
        "abilities": sorted(name for name, has in torch.cpu.get_capabilities().items() if has is True),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _code(card: ModelCard) -> str:
    """Return the checksum of the code that defines the network, so that an edit invalidates the cache.

    The head of the task says which part of a network is compiled, and whether its input has one size.
    """
    files = sorted(Path(networks.__file__).parent.rglob("*.py"))
    heads = (sys.modules[task_of(card).head].__file__ or "", torch_head.__file__)
    digest = hashlib.sha256()
    for path in (*files, *map(Path, heads), Path(graph.__file__), Path(conversion.__file__), Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()
