"""Build classifiers of timm (PyTorch Image Models, Apache-2.0), an optional extra."""

import importlib
import re
from typing import Any

from torch import nn

NAME = re.compile(r"[a-z0-9_]+")  # excludes tags of weights and hub URLs, so that nothing is downloaded


def load() -> Any:
    """Return the timm package. Raises `ImportError` if it, or torchvision, which it requires, is not installed."""
    return importlib.import_module("timm")


def build(name: str, classes: int) -> nn.Module:
    """Return timm's network `name` with random weights, which maps `(n, 3, h, w)` to `(n, classes)` logits.

    Raises `KeyError` if timm has no network of that name, and `ImportError` as `load` does.
    """
    timm = load()
    if not NAME.fullmatch(name) or not timm.is_model(name):
        raise KeyError(name)
    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes)
    return network


def statistics(name: str) -> dict[str, list[float]]:
    """Return mean and deviation of the input of timm's network `name`, those of its default weights.

    Many networks of timm have others than ImageNet's usual ones, and no weight shows them.
    """
    found = load().get_pretrained_cfg(name)
    return {"mean": list(found.mean), "std": list(found.std)} if found else {}
