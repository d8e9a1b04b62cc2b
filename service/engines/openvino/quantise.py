"""A network made int8: calibrated with pictures as it will see them, by NNCF, and packed as one file."""

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

from service.engines import Pictures
from service.engines.openvino import conversion
from service.engines.openvino import runtime as openvino_runtime
from service.engines.openvino.conversion import BIN, XML
from service.models.cards import CardError, ModelCard

WRITTEN_ON = (2024, 1, 1, 0, 0, 0)  # fixed, so that the same network gives the same file


def require_installed() -> None:
    """Raise `CardError` where what `quantise` needs is not there."""
    if not openvino_runtime.installed() or importlib.util.find_spec("nncf") is None:
        raise CardError("quantising needs OpenVINO and NNCF, which come with resnest-service[worker,int8]")


def quantise(card: ModelCard, pictures: Sequence[Pictures]) -> bytes:
    """The int8 file of a card's network, whose activations' ranges are those that `pictures` (h, w, 3) cause.

    Weights get a scale for each channel, activations one; biases are corrected for what is lost (NNCF's default, "fast
    bias correction"). Raises `CardError` and `ConversionError` as `conversion.converted` does.
    """
    openvino_runtime.package()  # first: it also keeps NNCF from reporting its use
    nncf: Any = importlib.import_module("nncf")
    nncf.set_log_level(logging.ERROR)
    samples = nncf.Dataset([np.ascontiguousarray(picture)[None] for picture in pictures])
    model = nncf.quantize(conversion.converted(card), samples, subset_size=len(pictures))
    return _packed(model)


def _packed(model: Any) -> bytes:
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        openvino_runtime.package().save_model(model, folder / XML, compress_to_fp16=False)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as packed:
            for part in (XML, BIN):
                packed.writestr(zipfile.ZipInfo(part, WRITTEN_ON), (folder / part).read_bytes())
    return out.getvalue()
