"""Read PyTorch checkpoints without running code in them. Harmless objects of training scripts become stand-ins."""

import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any, Final, Self

import torch
from torch.serialization import safe_globals

from service.models.weights import file_kinds
from service.models.weights.checksums import IncompatibleWeightsError

FORBIDDEN: Final = re.compile(r"GLOBAL ([\w.]+)")  # the refused object in an error of torch.load(weights_only=True)
NEWER_PROTOCOL: Final = re.compile(
    r"Detected pickle protocol \d|Unsupported operand (14\d|15[01])"
)  # opcodes of 4 and 5

# Objects that training scripts save beside the weights. None of their classes is imported or called.
OPTIMIZERS: Final = ("adam.Adam", "adamw.AdamW", "sgd.SGD", "rmsprop.RMSprop", "adagrad.Adagrad")
SCHEDULERS: Final = (
    *("StepLR", "MultiStepLR", "LambdaLR", "LinearLR", "ExponentialLR", "CosineAnnealingLR", "PolynomialLR"),
    *("CosineAnnealingWarmRestarts", "ReduceLROnPlateau", "OneCycleLR", "CyclicLR", "SequentialLR"),
)
BUILTINS: Final = (
    *("int", "float", "str", "list", "dict", "bool", "tuple", "set", "frozenset", "complex", "bytes", "bytearray"),
    *("range", "slice", "object"),
)
CALLBACKS: Final = ("model_checkpoint.ModelCheckpoint", "early_stopping.EarlyStopping")  # keys until Lightning 1.5
INERT_NAMES: Final = (
    *(f"torch.optim.{name}" for name in OPTIMIZERS),
    *(f"torch.optim.lr_scheduler.{name}" for name in SCHEDULERS),
    *(f"torch.{module}.grad_scaler.GradScaler" for module in ("amp", "cuda.amp")),
    "torch.torch_version.TorchVersion",
    *(f"pytorch_lightning.callbacks.{name}" for name in CALLBACKS),
    *(f"numpy.random._pickle.__{name}_ctor" for name in ("randomstate", "generator", "bit_generator")),
    *(f"numpy.random.{name}" for name in ("_mt19937.MT19937", "_pcg64.PCG64")),
    *(f"numpy.random.bit_generator.{name}" for name in ("SeedSequence", "__pyx_unpickle_SeedSequence")),
    *("decimal.Decimal", "fractions.Fraction", "uuid.UUID"),
    "wandb.sdk.wandb_config.Config",
    "argparse.Namespace",
    "types.SimpleNamespace",
    *(f"pathlib.{name}" for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")),
    *(f"pathlib._local.{name}" for name in ("PosixPath", "WindowsPath")),
    *(f"datetime.{name}" for name in ("date", "datetime", "timedelta", "timezone")),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    "numpy.ndarray",
    "numpy.dtype",
    "mmengine.logging.history_buffer.HistoryBuffer",
    *(f"omegaconf.dictconfig.{name}" for name in ("DictConfig",)),
    *(f"omegaconf.listconfig.{name}" for name in ("ListConfig",)),
    *(f"omegaconf.base.{name}" for name in ("ContainerMetadata", "Metadata")),
    *(f"omegaconf.nodes.{name}" for name in ("AnyNode", "StringNode", "IntegerNode", "FloatNode", "BooleanNode")),
    "typing.Any",
    *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in BUILTINS),
)
MAPPING_NAMES: Final = (
    *("collections.defaultdict", "collections.Counter"),
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "easydict.EasyDict",
    "addict.addict.Dict",
    *("yacs.config.CfgNode", "fvcore.common.config.CfgNode", "detectron2.config.config.CfgNode"),
    *("munch.Munch", "box.box.Box"),
    "mmcv.utils.config.ConfigDict",
    "mmengine.config.config.ConfigDict",
)


class Inert:
    """A stand-in for an object of a checkpoint. It keeps nothing and does nothing."""

    def __new__(cls, *_args: Any) -> Self:
        """Return a stand-in, whatever the arguments of the object were."""
        return super().__new__(cls)

    def __init__(self, *_args: Any) -> None: ...

    def __setstate__(self, _state: Any) -> None:
        """Ignore the attributes of the object."""


class _Mapping:
    """A stand-in for classes of mappings. Their items are kept, because weights may be among them."""

    def __new__(cls, *_args: Any) -> Any:
        """Return an empty mapping, the only kind to which torch's unpickler adds items."""
        return OrderedDict()


class _List:
    """A stand-in for a `deque`. Its items are kept, because torch's unpickler adds items to lists only."""

    def __new__(cls, *_args: Any) -> Any:
        """Return an empty list."""
        return []


def load(source: Path | IO[bytes]) -> Any:
    """Return the content of a checkpoint; no code in it runs. Raises `OSError`, and `IncompatibleWeightsError`."""
    if file_kinds.of_zip(source) == "TorchScript":
        raise IncompatibleWeightsError(
            "it is a TorchScript archive, which holds code; save `model.state_dict()` and import that"
        )
    if not isinstance(source, Path):
        source.seek(0)
    try:
        with safe_globals(_stand_ins()):
            return torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle is a program, so a damaged one can fail in any way
        if isinstance(error, pickle.UnpicklingError) or NEWER_PROTOCOL.search(str(error)):
            raise IncompatibleWeightsError(_refusal(str(error))) from error
        raise IncompatibleWeightsError(f"it is not a checkpoint, or it is damaged: {first_sentence(error)}") from error


def first_sentence(error: Exception) -> str:
    """Return the first sentence of an error's message, at most 200 characters."""
    return (str(error).splitlines() or ["unexpected end of file"])[0].partition(". ")[0][:200]


def _stand_ins() -> list[Any]:
    inert = [(type("Inert", (Inert,), {"kind": name.rpartition(".")[2]}), name) for name in INERT_NAMES]
    return [*inert, *((_Mapping, name) for name in MAPPING_NAMES), (_List, "collections.deque")]


def _refusal(message: str) -> str:
    foreign = FORBIDDEN.search(message)
    if foreign is None:
        if NEWER_PROTOCOL.search(message):
            return "it is a checkpoint of a newer pickle protocol; save it with the default protocol of `torch.save`"
        return "it is not a PyTorch checkpoint"
    refused = f"the checkpoint holds more than tensors ({foreign[1]}), which may be code; it was not run"
    is_class = foreign[1].rpartition(".")[2][:1].isupper()
    return f"{refused}; if it is a whole module, save `model.state_dict()` and import that" if is_class else refused
