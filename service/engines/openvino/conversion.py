"""A card's network in OpenVINO's own form, not compiled yet."""

import importlib
import io
import warnings
import zipfile
from typing import Any

import torch

from service.engines import graph
from service.engines.openvino import runtime as openvino_runtime
from service.models.cards import CardError, ModelCard
from service.models.weights import checksums

# Large enough for the strides of our networks and small enough to be traced in a second; the sides of what is compiled
# are free. timm's may be made for one size.
TRACED_SIDE = 64
XML, BIN = "model.xml", "model.bin"  # in an int8 file, which is a zip of them


class ConversionError(RuntimeError):
    """A network that OpenVINO cannot take or compile; PyTorch may still run it."""


def model(card: ModelCard) -> Any:
    """The form that the card's precision asks for. Raises `CardError` and `ConversionError`."""
    return quantised(card) if card.serving.precision == "int8" else converted(card)


def converted(card: ModelCard) -> Any:
    """The network with its weights in single precision, batch and, of a segmenter, sides free.

    Raises `CardError` where the weights cannot be had or do not fit, `ConversionError` where OpenVINO cannot take it.
    """
    module = graph.build(card)
    short = TRACED_SIDE if card.network.library == "own" else card.input.size
    example = torch.zeros((2, short, short, 3), dtype=torch.uint8)
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the converter wants a trace, as does the pinned torch
            found = openvino_runtime.package().convert_model(_traced(module, example), example_input=example)
        side = card.input.size if card.task == "classification" else -1
        found.reshape([-1, side, side, 3])
    except RuntimeError as error:
        raise refusal(card, error) from error
    return found


def _traced(module: torch.nn.Module, example: torch.Tensor) -> Any:
    """As `convert_model` itself does, but that the trace is not checked.

    Checking it loads torch.distributed and sympy (PyTorch 2.13), seconds of a start and 90 MB that stay.
    """
    openvino_runtime.package()
    decoders: Any = importlib.import_module("openvino.frontend.pytorch.ts_decoder")
    return decoders.TorchScriptPythonDecoder(module, example_input=example, trace_kwargs={"check_trace": False})


def quantised(card: ModelCard) -> Any:
    """The network in int8, from the file on the card. Raises `CardError` where that is missing or another."""
    data = checksums.int8(card)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            return openvino_runtime.core().read_model(packed.read(XML), packed.read(BIN))
    except (RuntimeError, KeyError, zipfile.BadZipFile) as error:
        raise CardError(f"{card.name}: its int8 form cannot be read: {openvino_runtime.last_line(error)}") from error


def refusal(card: ModelCard, error: RuntimeError) -> ConversionError:
    """What OpenVINO's error means: the model, the network and the deepest reason."""
    return ConversionError(f"{card.name}: OpenVINO cannot run {card.network.name}: {openvino_runtime.last_line(error)}")
