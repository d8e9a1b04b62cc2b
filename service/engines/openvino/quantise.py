"""Quantise a network to int8 with NNCF, calibrated on representative images, and pack it as one file."""

import importlib
import importlib.util
import io
import logging
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.engines import Images
from service.engines.openvino import conversion
from service.engines.openvino import runtime as openvino_runtime
from service.engines.openvino.conversion import BIN, XML
from service.models.cards import CardError, ModelCard

ZIP_DATE = (2024, 1, 1, 0, 0, 0)  # fixed, so that the same network gives the same file


def require_installed() -> None:
    """Raise `CardError` if OpenVINO or NNCF is not installed."""
    if not openvino_runtime.is_installed() or importlib.util.find_spec("nncf") is None:
        raise CardError("quantising needs OpenVINO and NNCF; install resnest-service[worker,int8]")


def quantise(card: ModelCard, images: Sequence[Images]) -> bytes:
    """Return the int8 file of a card's network. The ranges of its activations come from `images`, each (h, w, 3).

    Weights get one scale per channel and use half of the int8 range: with the whole range, processors without VNNI
    clamp sums of two products (decision 0014). Activations get one scale per tensor. Biases are corrected for the
    quantisation error (NNCF's default "fast bias correction"). The network has the form that is the same on every
    processor, since the file may be served by another one. Raises `CardError` and `ConversionError` as
    `conversion.convert` does.
    """
    openvino_runtime.package()  # first, because it also disables the telemetry of NNCF
    nncf: Any = importlib.import_module("nncf")
    nncf.set_log_level(logging.ERROR)
    samples = nncf.Dataset([np.ascontiguousarray(image)[None] for image in images])
    half_range = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
    served = card.model_copy(update={"serving": card.serving.model_copy(update={"precision": "int8"})})
    model = nncf.quantize(conversion.convert(served), samples, subset_size=len(images), advanced_parameters=half_range)
    return _packed(model)


def _packed(model: Any) -> bytes:
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        openvino_runtime.package().save_model(model, folder / XML, compress_to_fp16=False)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as packed:
            for part in (XML, BIN):
                packed.writestr(zipfile.ZipInfo(part, ZIP_DATE), (folder / part).read_bytes())
    return out.getvalue()
