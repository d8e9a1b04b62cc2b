"""Checkpoints as training scripts, file shares and disks have them, and the cause where they cannot be read."""

import argparse
import collections
import gzip
import io
import pickle
import sys
import tarfile
import types
import zipfile
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import nn

from service.models.weights.fitting import Choice
from tests.models.weights.checkpoints import State, openmmlab, parallel, pth, safe, zipped

Write = Callable[[State], bytes]


def behind(prefix: str) -> Callable[[State], State]:
    """Return a function that puts a prefix before every key."""
    return lambda state: {prefix + key: value for key, value in state.items()}


def other(state: State) -> State:
    """Return other weights of the same network."""
    return {key: value + 1 for key, value in state.items()}


def with_head(state: State, names: Mapping[str, str]) -> State:
    """Return the state with other names of the last layer."""
    return {names.get(key, key): value for key, value in state.items()}


def foreign(module: str, name: str, base: type = object) -> type:
    """Return a class of a package that is not installed here. Its instances can be pickled."""
    made = type(name, (base,), {"__module__": module})
    for parent in accumulate(module.split("."), "{}.{}".format):
        sys.modules[parent] = types.ModuleType(parent)
    setattr(sys.modules[module], name, made)
    return made


def pickled_with(module: str, name: str, base: type = object, **attributes: Any) -> Write:
    """Return a form whose checkpoint has an object of a foreign class beside the weights."""

    def write(state: State) -> bytes:
        made = foreign(module, name, base)()
        for key, value in attributes.items():
            if isinstance(made, dict):
                made[key] = value
            else:
                setattr(made, key, value)
        try:
            return pth({"state_dict": state, "hyper_parameters": made})
        finally:
            for parent in accumulate(module.split("."), "{}.{}".format):
                del sys.modules[parent]

    return write


def timm_train(state: State) -> bytes:
    """Return what timm's train.py saves."""
    args = argparse.Namespace(model="resnest14d", lr=0.1, mean=None)
    best = np.float64(81.5)
    return pth({"epoch": 3, "arch": "resnest14d", "state_dict": state, "args": args, "best_acc": best, "version": 2})


def optimizer() -> dict[str, object]:
    """Return an optimizer and its schedule, as scripts save them that forget `state_dict()`."""
    made = torch.optim.AdamW([nn.Parameter(torch.ones(2))], lr=0.1)
    return {"optimizer": made, "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(made, 9)}


def without_numpy_core(data: bytes) -> bytes:
    """Return a pickle of NumPy 2 with the module names of NumPy 1."""
    return data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


READ: dict[str, Write] = {
    "under model_state_dict": lambda s: pth({"model_state_dict": s, "epoch": 5, "optimizer_state_dict": {"state": {}}}),
    "under net": lambda s: pth({"net": s, "acc": 91.2, "epoch": 5}),
    "under module": lambda s: pth({"module": s, "global_steps": 7}),
    "two levels down": lambda s: pth({"model": {"state_dict": s}, "epoch": 5}),
    "in timm's train.py form": timm_train,
    "with NumPy 1's names": lambda s: without_numpy_core(pth({"state_dict": s, "best": np.float32(2)}, legacy=True)),
    "with an array beside": lambda s: pth({"state_dict": s, "history": np.arange(5.0)}),
    "with Lightning's AttributeDict": pickled_with(
        "pytorch_lightning.utilities.parsing", "AttributeDict", dict, lr=0.1
    ),
    "with MMEngine's HistoryBuffer": pickled_with("mmengine.logging.history_buffer", "HistoryBuffer", max_length=9),
    "with OmegaConf's config": pickled_with("omegaconf.dictconfig", "DictConfig", _content=1),
    "with an optimizer and a schedule that are whole objects": lambda s: pth({"model": s, **optimizer()}),
    "with random states": lambda s: pth(
        {"state_dict": s, "rng": {"numpy": np.random.get_state(), "generator": np.random.default_rng(1)}}  # noqa: NPY002
    ),
    "with containers": lambda s: pth(
        {"state_dict": s, "seen": {1, 2}, "last": collections.deque([1.5], 3), "counts": collections.Counter("aab")}
    ),
    "with the version of torch": lambda s: pth({"state_dict": s, "torch": torch.__version__}),
    "with a defaultdict": lambda s: pth({"state_dict": s, "metrics": collections.defaultdict(list, {"a": [1]})}),
    "of torch.compile": lambda s: pth(behind("_orig_mod.")(s)),
    "of torch.compile in DataParallel": lambda s: pth(behind("module._orig_mod.")(s)),
    "of DataParallel in torch.compile": lambda s: pth({"model": behind("_orig_mod.module.")(s)}),
    "of a compiled layer": lambda s: pth({k.replace("layer1.", "layer1._orig_mod."): v for k, v in s.items()}),
    "of FSDP": lambda s: pth({k.replace("layer1.", "layer1._fsdp_wrapped_module."): v for k, v in s.items()}),
    "of Lightning": lambda s: pth({"state_dict": behind("model.")(s), "pytorch-lightning_version": "2.1"}),
    "of Lightning with a loss": lambda s: pth(
        {"state_dict": {**behind("model.")(s), "criterion.weight": torch.ones(3)}}
    ),
    "of Lightning with a metric": lambda s: pth(
        {"state_dict": {**behind("net.")(s), "val_acc.correct": torch.ones((), dtype=torch.long)}}
    ),
    "of AveragedModel": lambda s: pth({**parallel(s), "n_averaged": torch.tensor(9)}),
    "of thop's counts": lambda s: pth({**s, "total_ops": torch.ones(1), "layer1.0.total_params": torch.ones(1)}),
    "with the last layer after a dropout": lambda s: pth(
        with_head(s, {"fc.weight": "fc.1.weight", "fc.bias": "fc.1.bias"})
    ),
    "with a named last layer": lambda s: pth(
        with_head(s, {"fc.weight": "fc.linear.weight", "fc.bias": "fc.linear.bias"})
    ),
    "with other values beside the weights": lambda s: pth({**s, "epoch": 3}),
    "with weights and averaged weights": lambda s: pth({"state_dict": s, "state_dict_ema": other(s)}),
    "with averaged weights in the same member": lambda s: pth({**s, **behind("ema_model.")(other(s))}),
    "with the same weights twice": lambda s: pth({"state_dict": s, "best_state_dict": dict(s)}),
    "safetensors in a zip": lambda s: zipped(readme__md=b"# hello", model__safetensors=safe(s)),
    "a .pt in a zip": lambda s: zipped(model__pt=pth(s)),
    "an unnamed checkpoint in a zip": lambda s: zipped(weights=pth(s, legacy=True)),
    "safetensors behind a prefix": lambda s: safe(behind("model.")(s)),
}
CHOSEN: dict[str, tuple[Write, Choice]] = {
    "state_dict_ema by --ema": (lambda s: pth({"state_dict": other(s), "state_dict_ema": s}), Choice(ema=True)),
    "an averaging prefix by --ema": (lambda s: pth({**other(s), **behind("ema.module.")(s)}), Choice(ema=True)),
    "ema_state_dict of MMEngine by --ema": (
        lambda s: pth({"state_dict": other(s), "ema_state_dict": {**parallel(s), "steps": torch.tensor(4)}}),
        Choice(ema=True),
    ),
    "one of two by --member": (lambda s: pth({"student": other(s), "teacher": s}), Choice(member="teacher")),
}


TOLD: dict[str, tuple[Write, str, set[str]]] = {
    "the member": (
        lambda s: pth({"net": s, "epoch": 5, "optimizer": {"state": {0: {}}, "param_groups": []}}),
        "net",
        {"epoch (int)", "optimizer (a mapping of 2)"},
    ),
    "the averaged weights": (
        lambda s: pth({"state_dict": s, "state_dict_ema": other(s)}),
        "state_dict",
        {"state_dict_ema (other weights that fit)"},
    ),
    "the prefix and the loss": (
        lambda s: pth({"state_dict": {**behind("model.")(s), "criterion.weight": torch.ones(3)}}),
        "state_dict without the prefix 'model.'",
        {"criterion.weight (part of a loss)"},
    ),
    "objects": (
        timm_train,
        "state_dict",
        {"epoch (int)", "arch (str)", "args (Namespace)", "best_acc (scalar)", "version (int)"},
    ),
    "nothing": (pth, "the weights", set()),
}


def torchscript(_: State) -> bytes:
    """Return an archive with the members of one that `torch.jit.save` writes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive_file:
        for name in ("net/data.pkl", "net/constants.pkl", "net/code/__torch__.py", "net/version"):
            archive_file.writestr(name, b"\x80\x02}.")
    return out.getvalue()


def in_tar(state: State) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as outer:
        outer.addfile(tarfile.TarInfo("model.pth"), io.BytesIO(b""))
    return out.getvalue()


def protocol_4(state: State) -> bytes:
    out = io.BytesIO()
    torch.save(state, out, pickle_protocol=4)
    return out.getvalue()


LINEARS = {"fc.weight": "fc.0.weight", "fc.bias": "fc.0.bias"}
DECLINED: dict[str, tuple[Write, str]] = {
    "a whole module": (
        lambda _: pth(nn.Linear(2, 2)),
        r"\(torch\.nn\.modules\.linear\.Linear\).*save `model\.state_dict\(\)`",
    ),
    "a whole module under model": (lambda _: pth({"model": nn.Linear(2, 2)}), r"save `model\.state_dict\(\)`"),
    "TorchScript": (torchscript, r"it is a TorchScript archive.*save `model\.state_dict\(\)`"),
    "a text file": (lambda _: b"epoch,loss\n1,0.3\n" * 40, "not a checkpoint but text, which begins with 'epoch,loss'"),
    "a pointer of Git LFS": (lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    "a web page": (lambda _: b"\n<!DOCTYPE html><html>" + bytes(500), "a web page"),
    "Keras": (lambda _: b"\x89HDF\r\n\x1a\n" + bytes(500), "an HDF5 file"),
    "an empty file": (lambda _: b"", "an empty file"),
    "gzip": (lambda s: gzip.compress(pth(s), 1), "an archive of gzip; extract it first"),
    "tar": (in_tar, "a tar archive"),
    "pickle protocol 4": (protocol_4, "newer pickle protocol"),
    "two linear layers": (
        lambda s: pth({**with_head(s, LINEARS), "fc.2.weight": torch.ones(3, 3), "fc.2.bias": torch.ones(3)}),
        r"2 missing \(fc\.bias, fc\.weight\); 4 unexpected \(fc\.0\.bias",
    ),
    "no weights": (lambda _: pth({"epoch": 3, "lr": [0.1]}), r"not tensors by name: epoch \(int\), lr \(list\)"),
    "optimizer only": (
        lambda _: pth({"optimizer": {"state": {}, "param_groups": []}}),
        r"optimizer \(a mapping of 2\)",
    ),
    "several that fit": (lambda s: pth({"student": s, "teacher": other(s)}), "student, teacher; choose with --member"),
    "another layout": (lambda s: pth({"state_dict": openmmlab(s)}), "with --keys openmmlab they fit"),
    "a further head": (lambda s: pth({**s, "head2.weight": torch.ones(3)}), r"1 unexpected \(head2\.weight\)"),
    "a further head behind no prefix": (
        lambda s: pth({**behind("model.")(s), "projector.weight": torch.ones(3)}),
        r"1 unexpected \(projector\.weight\)",
    ),
    "an empty zip": (lambda _: zipped(), "holds 0 checkpoints, expected 1"),
    "a zip of documents": (
        lambda _: zipped(a__txt=b"a", b__docx=zipped(c__xml=b"<a/>")),
        r"0 checkpoints.*: a\.txt, b\.docx",
    ),
    "a zip of two": (
        lambda s: zipped(a__pth=pth(s), b__safetensors=safe(s)),
        r"2 checkpoints.*: a\.pth, b\.safetensors",
    ),
    "a foreign pickle": (lambda _: pickle.dumps([1, 2], protocol=2), "not a checkpoint"),
}
