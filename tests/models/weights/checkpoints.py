"""Checkpoints of a small network, in every published form and layout."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from service import networks

CLASSES = 3
State = dict[str, Tensor]


class Trap:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, path: Any) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self.path).touch, (self.path,)


def made_state(network: str = "resnest14", classes: int = CLASSES) -> State:
    """Return tensors for every key of the network: each holds its own number, in float16 or, for counters, int64."""
    with torch.device("meta"):
        module = networks.build(network, classes)
    return {
        key: torch.full(value.shape, number, dtype=torch.float16 if value.is_floating_point() else torch.int64)
        for number, (key, value) in enumerate(module.state_dict().items())
    }


def pth(content: Any, *, legacy: bool = False) -> bytes:
    """Return the bytes of `torch.save`, in today's format or, with `legacy`, that until 2020."""
    out = io.BytesIO()
    torch.save(content, out, _use_new_zipfile_serialization=not legacy)
    return out.getvalue()


def safe(state: State) -> bytes:
    """Return the state as safetensors."""
    return safetensors.torch.save(state)


def zipped(**members: bytes) -> bytes:
    """Return a zip of these members; `model__pth` becomes `model.pth`."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as outer:
        for name, data in members.items():
            outer.writestr(name.replace("__", "."), data)
    return out.getvalue()


def openmmlab(state: Mapping[str, Tensor]) -> State:
    """Return the state in the layout of OpenMMLab's classifiers: stem and its last norm in one sequence, `head.fc`."""
    renamed = {}
    for key, value in state.items():
        first, _, rest = key.partition(".")
        place = {"conv1": "backbone.stem", "bn1": "backbone.stem.7", "fc": "head.fc"}.get(first, f"backbone.{first}")
        renamed[f"{place}.{rest}"] = value
    return renamed


def mmseg(state: Mapping[str, Tensor]) -> State:
    """Return the state in the layout of OpenMMLab's segmenters: `backbone`, `decode_head` and `auxiliary_head`."""
    parts = {"head": "decode_head", "auxlayer": "auxiliary_head"}
    renamed: State = {}
    for key, value in state.items():
        first, _, rest = key.partition(".")
        renamed |= {f"{parts[first]}.{rest}": value} if first in parts else openmmlab({rest: value})
    return renamed


def parallel(state: Mapping[str, Tensor]) -> State:
    """Return the state as DataParallel saves it."""
    return {f"module.{key}": value for key, value in state.items()}


def without_counters(state: Mapping[str, Tensor]) -> State:
    """Return the state without BatchNorm's counters, which older PyTorch did not save."""
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
