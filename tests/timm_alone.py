"""timm as a numeric reference, without torchvision: its networks use none of it, its data loading is not called."""

import enum
import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

import torch

# Every name that timm imports from torchvision outside a `try`.
STAND_IN = {
    "torchvision": (),
    "torchvision.ops": (),
    "torchvision.ops.misc": ("FrozenBatchNorm2d",),
    "torchvision.datasets": ("CIFAR10", "CIFAR100", "MNIST", "KMNIST", "FashionMNIST", "ImageFolder"),
    "torchvision.transforms": ("ToTensor",),
    "torchvision.transforms.functional": ("InterpolationMode",),
}


class InterpolationMode(enum.Enum):
    """The members that timm's tables are keyed by."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


def _stand_ins() -> dict[str, ModuleType]:
    modules: dict[str, ModuleType] = {}
    for name, members in STAND_IN.items():
        modules[name] = ModuleType(name)
        for member in members:
            known = InterpolationMode if member == "InterpolationMode" else type(member, (torch.nn.Module,), {})
            setattr(modules[name], member, known)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, modules[name])
    return modules


def load() -> Any:
    """The timm package. Stand-ins for torchvision are there only while it is being imported."""
    stand_ins = {} if importlib.util.find_spec("torchvision") else _stand_ins()
    sys.modules.update(stand_ins)
    try:
        return importlib.import_module("timm")
    finally:
        for name in stand_ins:
            del sys.modules[name]
