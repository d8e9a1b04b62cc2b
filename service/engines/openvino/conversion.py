"""Convert the network of a card to an OpenVINO model, before compilation."""

import importlib
import io
import warnings
import zipfile
from dataclasses import replace
from typing import Any

import torch

from service.engines import graph
from service.engines.heads import head_of
from service.engines.openvino import runtime as openvino_runtime
from service.models.cards import CardError, ModelCard
from service.models.weights import checksums
from service.networks.inference_form import Form
from service.tasks.torch_head import GraphPart

# Large enough for the strides of our networks, and small enough to be traced in a second. The compiled model accepts
# other sizes. Networks of timm may be made for one size, so they are traced at that size.
TRACE_SIDE = 64
XML, BIN = "model.xml", "model.bin"  # members of an int8 file, which is a zip


FORM = Form(fold=True, split_attention=True, split_first=True)


class ConversionError(RuntimeError):
    """OpenVINO cannot convert or compile the network; PyTorch may still run it."""


def load_model(card: ModelCard, precision: str) -> Any:
    """Return the int8 model of a card that asks for it, else the network in the fastest form for `precision`.

    `precision` is "f32" or "bf16". Raises `CardError` and `ConversionError`.
    """
    return read_int8_model(card) if card.serving.precision == "int8" else convert(card, fastest_form(precision))


def convert(card: ModelCard, form: Form = FORM) -> Any:
    """Return the network with its float32 weights in a form, by default the same one on every processor.

    The batch size is dynamic, and so are the sides of a segmenter.

    Raises `CardError` if the weights are missing or do not fit, and `ConversionError` if OpenVINO refuses the network.
    """
    if head_of(card).multi_graph is not None:
        raise CardError(f"{card.name}: its network consists of several graphs, which are not one model")
    module = graph.build(card, form)
    side = TRACE_SIDE if card.network.library == "own" else card.input.size
    free_or_size = card.input.size if head_of(card).has_fixed_size else -1  # -1: dynamic
    example = torch.zeros((2, side, side, 3), dtype=torch.uint8)
    converted = _converted(card, module, example, [-1, free_or_size, free_or_size, 3])
    if len(converted.outputs) != 1:
        raise ConversionError(f"{card.name}: the network has {len(converted.outputs)} outputs; an engine carries one.")
    return converted


def convert_part(card: ModelCard, part: GraphPart) -> Any:
    """Return one of several graphs of a card's network. Raises `ConversionError` if OpenVINO refuses it."""
    shape = [-1 if axis in part.dynamic else length for axis, length in enumerate(part.example)]
    return _converted(card, part.module, torch.zeros(part.example), shape)


def _converted(card: ModelCard, module: torch.nn.Module, example: torch.Tensor, shape: list[int]) -> Any:
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            # The converter needs torch.jit.trace, which is deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            converted = openvino_runtime.package().convert_model(_traced(module, example), example_input=example)
        converted.reshape(shape)
    except RuntimeError as error:
        raise conversion_error(card, error) from error
    return converted


def fastest_form(precision: str) -> Form:
    """Return the form that OpenVINO runs fastest on this processor in a precision, "f32" or "bf16".

    In bfloat16 its dilated convolutions reach a tenth of the speed of 1x1 convolutions on AMX, but all of it on
    AVX-512. In single precision AMX is not used.
    """
    has_amx = torch.cpu.get_capabilities().get("amx_bf16", False) is True
    return replace(FORM, taps=has_amx and precision == "bf16")


def _traced(module: torch.nn.Module, example: torch.Tensor) -> Any:
    """Trace the module as `convert_model` does, but without a check of the trace.

    The check imports torch.distributed and sympy (PyTorch 2.13), which takes seconds and 90 MB of memory.
    """
    openvino_runtime.package()
    decoders: Any = importlib.import_module("openvino.frontend.pytorch.ts_decoder")
    return decoders.TorchScriptPythonDecoder(module, example_input=example, trace_kwargs={"check_trace": False})


def read_int8_model(card: ModelCard) -> Any:
    """Return the int8 model from the file named on the card. Raises `CardError` if it is missing or unusable."""
    data = checksums.read_int8(card)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            return openvino_runtime.core().read_model(packed.read(XML), packed.read(BIN))
    except (RuntimeError, KeyError, zipfile.BadZipFile) as error:
        raise CardError(f"{card.name}: its int8 file cannot be read: {openvino_runtime.last_line(error)}") from error


def conversion_error(card: ModelCard, error: RuntimeError) -> ConversionError:
    """Return the error for OpenVINO's exception, with the model, the network and the innermost reason."""
    return ConversionError(f"{card.name}: OpenVINO cannot run {card.network.name}: {openvino_runtime.last_line(error)}")
