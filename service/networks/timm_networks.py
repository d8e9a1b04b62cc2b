"""The classifiers of timm (PyTorch Image Models, Apache-2.0), which is an optional extra."""

import importlib
import re
from typing import Any

from torch import nn

NAME = re.compile(r"[a-z0-9_]+")  # no tag of weights, and no address: nothing is ever fetched


def load() -> Any:
    """The package. Raises `ImportError` where it, or the torchvision that it asks for, is not installed."""
    return importlib.import_module("timm")


def build(name: str, classes: int) -> nn.Module:
    """timm's network `name` with random weights: `(n, 3, h, w)` to `(n, classes)` logits.

    Raises `KeyError` where timm has none of that name, and `ImportError` as `load` does.
    """
    timm = load()
    if not NAME.fullmatch(name) or not timm.is_model(name):
        raise KeyError(name)
    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes)
    return network
