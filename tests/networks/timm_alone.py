"""timm where torchvision is not: its networks use none of it, and its data loading is not called."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STAND_IN = Path(__file__).parent / "torchvision_stand_in"  # has the names that timm imports from torchvision
TORCHVISION_IS_HERE = importlib.util.find_spec("torchvision") is not None


def load() -> Any:
    """The timm package. A stand-in for torchvision is there only while it is being imported."""
    with _stand_in():
        return importlib.import_module("timm")


def python_path() -> str:
    """PYTHONPATH for other processes that are to import timm: this one's, behind the stand-in where it is needed."""
    inherited = os.environ.get("PYTHONPATH", "")
    places = [*([] if TORCHVISION_IS_HERE else [str(STAND_IN)]), *([inherited] if inherited else [])]
    return os.pathsep.join(places)


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
