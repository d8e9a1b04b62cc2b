"""OpenVINO on the CPU: the same graph, made faster by its compiler, in bfloat16 where the processor computes in it."""

import gc
import hashlib
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

from service import networks, weights
from service.cards import CardError, ModelCard
from service.cores import threads
from service.engines import answers, conversion, graph, openvino_runtime
from service.engines.compiled import Cache

log = logging.getLogger("service.worker")

HINTS = {"fp32": "f32", "bf16": "bf16"}  # in int8 too some operations stay in one of them


class OpenVinoEngine:
    """A compiled graph, for one caller at a time; see `service.engines.Engine` for what it answers.

    A batch of another size or shape than before costs 25 to 100 ms once, in which its kernels are made.
    """

    def __init__(self, model: Any, finish: answers.Finish) -> None:
        self.threads = int(model.get_property("INFERENCE_NUM_THREADS"))
        self._request = model.create_infer_request()
        self._finish = finish

    @torch.inference_mode()
    def __call__(self, pictures: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
        """One forward pass over `(n, h, w, 3)`."""
        logits = self._request.infer([np.ascontiguousarray(pictures)])[0]
        return answers.arrays(self._finish(torch.from_numpy(logits), (pictures.shape[1], pictures.shape[2])))


def load(card: ModelCard, _: str = "cpu", cache: Cache | None = None) -> OpenVinoEngine:
    """The card's network, compiled, or from the cache, where PyTorch's form of it is never built.

    Raises `CardError` where the weights are missing, are not those of the card's checksum, or do not fit its network,
    and `conversion.ConversionError` where this network and OpenVINO do not agree.
    """
    if not openvino_runtime.installed():
        raise CardError(f"{card.name}: OpenVINO is not installed; it comes with resnest-service[worker]")
    cache = cache or Cache.of_this_user()
    finish = answers.finish(graph.skeleton(card))
    weights.verify(card)
    if card.serving.precision == "int8":
        weights.int8(card)
    settings = _settings(card)
    name = key(card, settings["INFERENCE_PRECISION_HINT"])
    model = _kept(settings, cache.read(card.name, name))
    if model is None:
        model = compiled(card, settings)
        cache.write(card.name, name, model.export_model().getvalue())
    return OpenVinoEngine(model, finish)


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


def _kept(settings: dict[str, Any], content: bytes | None) -> Any | None:
    try:
        return content and openvino_runtime.core().import_model(content, "CPU", settings)
    except RuntimeError as error:
        log.warning("compiling anew, because what was kept cannot be used: %s", openvino_runtime.last_line(error))
        return None


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
    files = sorted(Path(networks.__file__).parent.glob("*.py"))
    digest = hashlib.sha256()
    for path in (*files, Path(graph.__file__), Path(conversion.__file__), Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()
