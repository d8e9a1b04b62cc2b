"""Import timm without torchvision, which its networks do not use; only its data loading does."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STAND_IN = Path(__file__).parent / "torchvision_stand_in"  # defines the names that timm imports from torchvision
TORCHVISION_IS_HERE = importlib.util.find_spec("torchvision") is not None


def load() -> Any:
    """Return the timm package. A stand-in replaces torchvision only during the import."""
    with _stand_in():
        return importlib.import_module("timm")


def python_path() -> str:
    """Return the PYTHONPATH for other processes that import timm: this process's, after the stand-in if needed."""
    inherited = os.environ.get("PYTHONPATH", "")
    paths = [*([] if TORCHVISION_IS_HERE else [str(STAND_IN)]), *([inherited] if inherited else [])]
    return os.pathsep.join(paths)


@contextmanager
def _stand_in() -> Iterator[None]:
    if TORCHVISION_IS_HERE:
        yield
        return
    sys.path.insert(0, str(STAND_IN))
    try:
        yield
    finally:
        sys.path.remove(str(STAND_IN))
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
