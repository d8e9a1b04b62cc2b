"""OpenVINO on the CPU: the same graph, made faster by its compiler, in bfloat16 where the processor computes in it."""

import gc
import hashlib
import io
import json
import logging
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from service import networks
from service.config.cores import threads
from service.engines import graph, postprocess
from service.engines.openvino import conversion
from service.engines.openvino import runtime as openvino_runtime
from service.engines.openvino.compile_cache import Cache
from service.engines.openvino.streams import Streams
from service.models.cards import CardError, ModelCard
from service.models.weights import checksums

log = logging.getLogger("service.worker")

HEAD = 48  # bytes that OpenVINO reads of what is in memory before it looks at the length
HINTS = {"fp32": "f32", "bf16": "bf16"}  # in int8 too some operations stay in one of them


class OpenVinoEngine:
    """A compiled graph, for one caller at a time; see `service.engines.Engine` for what it answers.

    A batch of another size or shape than before costs 25 to 100 ms once, in which its kernels are made.
    """

    def __init__(self, model: Any, finish: postprocess.Finish, streams: Streams | None, memory: Any) -> None:
        """`model` has all the threads, for what is left when each of the `streams` has as much as the others.

        Both read their weights in `memory`.
        """
        self.threads = int(model.get_property("INFERENCE_NUM_THREADS"))
        self._request = model.create_infer_request()
        self._finish = finish
        self.streams = streams
        self._memory = memory  # the last, so that it is given back the last

    @torch.inference_mode()
    def __call__(self, pictures: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
        """One forward pass over `(n, h, w, 3)`."""
        logits = torch.from_numpy(self._logits(np.ascontiguousarray(pictures)))
        return postprocess.arrays(self._finish(logits, (pictures.shape[1], pictures.shape[2])))

    def _logits(self, pictures: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        found = []
        rest = len(pictures) if self.streams is None else len(pictures) % self.streams.count
        if self.streams is not None and rest < len(pictures):
            found.append(self.streams.infer(pictures[: len(pictures) - rest]))
        if rest:
            found.append(self._request.infer([pictures[len(pictures) - rest :]])[0])
        return found[0] if len(found) == 1 else np.concatenate(found)


def load(card: ModelCard, _: str = "cpu", cache: Cache | None = None) -> OpenVinoEngine:
    """The card's network, compiled, or from the cache, where PyTorch's form of it is never built.

    Raises `CardError` where the weights are missing, are not those of the card's checksum, or do not fit its network,
    and `conversion.ConversionError` where this network and OpenVINO do not agree.
    """
    if not openvino_runtime.installed():
        raise CardError(f"{card.name}: OpenVINO is not installed; it comes with resnest-service[worker]")
    cache = cache or Cache.of_this_user()
    finish = postprocess.finish(graph.skeleton(card))
    checksums.verify(card)
    if card.serving.precision == "int8":
        checksums.int8(card)
    settings = _settings(card)
    name = key(card, settings["INFERENCE_PRECISION_HINT"])
    content = cache.read(card.name, name)
    kept = None if content is None else _kept(card, settings, content, finish)
    return kept or _anew(card, settings, cache, name, finish)


def _anew(
    card: ModelCard, settings: dict[str, Any], cache: Cache, name: str, finish: postprocess.Finish
) -> OpenVinoEngine:
    """The engine of what is compiled and kept now. Raises as `load` does."""
    stream = io.BytesIO()
    compiled(card, settings).export_model(stream)
    cache.write(card.name, name, stream.getbuffer())
    try:
        return _engine(card, settings, stream.getbuffer(), finish)
    except RuntimeError as error:
        raise conversion.refusal(card, error) from error


def _kept(
    card: ModelCard, settings: dict[str, Any], content: bytearray, finish: postprocess.Finish
) -> OpenVinoEngine | None:
    try:
        return _engine(card, settings, content, finish)
    except RuntimeError as error:
        log.warning("compiling anew, because what was kept cannot be used: %s", openvino_runtime.last_line(error))
        return None


def _engine(
    card: ModelCard, settings: dict[str, Any], content: bytearray | memoryview, finish: postprocess.Finish
) -> OpenVinoEngine:
    """The engine of a compiled model's file, which stays in memory: the weights are there once for all streams."""
    if len(content) < HEAD:
        raise RuntimeError("too short")
    memory = openvino_runtime.package().Tensor(np.frombuffer(content, np.uint8), shared_memory=True)
    model = openvino_runtime.core().import_model(memory, "CPU", settings)
    count = min(int(model.get_property("INFERENCE_NUM_THREADS")), card.serving.batch_size)
    if count == 1:
        return OpenVinoEngine(model, finish, None, memory)
    several = openvino_runtime.core().import_model(memory, "CPU", {**settings, "NUM_STREAMS": count})
    return OpenVinoEngine(model, finish, Streams(several), memory)


def native_bf16() -> bool:
    """Whether this processor multiplies bfloat16; one that only emulates it is faster in single precision."""
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def _settings(card: ModelCard) -> dict[str, Any]:
    hint = HINTS.get(card.serving.precision) or HINTS["bf16" if native_bf16() else "fp32"]
    return {
        "INFERENCE_PRECISION_HINT": hint,
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads(card.serving.threads, os.environ),
        "ENABLE_CPU_PINNING": False,
    }


def compiled(card: ModelCard, settings: dict[str, Any]) -> Any:
    """The model of a card, ready to run. Raises `CardError` and `ConversionError` as `load` does."""
    model = conversion.model(card)
    try:
        return openvino_runtime.core().compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise conversion.refusal(card, error) from error
    finally:
        del model
        gc.collect()  # a traced network keeps its weights in cycles: 110 MB of a ResNeSt-50


def key(card: ModelCard, precision: str) -> str:
    """All that the compiled form depends on, as one name: weights, network, code, compiler, processor."""
    facts = {
        "weights": card.checksum,
        "network": card.network.model_dump(),
        "library": metadata.version("timm") if card.network.library == "timm" else "",
        "input": [card.input.mean, card.input.std, card.input.size],
        "precision": precision,
        "int8": card.int8.sha256 if card.int8 and card.serving.precision == "int8" else "",
        "code": _code(),
        "compiler": openvino_runtime.package().get_version(),
        "processor": [platform.machine(), openvino_runtime.core().get_property("CPU", "FULL_DEVICE_NAME")],
        "abilities": sorted(name for name, has in torch.cpu.get_capabilities().items() if has is True),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _code() -> str:
    """The checksum of the code that makes the graph: an edited network is another network."""
    files = sorted(Path(networks.__file__).parent.rglob("*.py"))
    digest = hashlib.sha256()
    for path in (*files, Path(graph.__file__), Path(conversion.__file__), Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()
