"""What TorchServe hands to a handler, made by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from service.tasks import frame

Pixels = npt.NDArray[np.uint8]


def context(folder: Path, gpu: int | None = None) -> Any:
    """TorchServe's context for a worker whose model directory is `folder`."""
    return SimpleNamespace(system_properties={"model_dir": str(folder), "gpu_id": gpu, "batch_size": 8})


def request(picture: npt.NDArray[Any], **head: Any) -> dict[str, Any]:
    """A request with a picture, as the gateway sends it."""
    return {"body": bytearray(frame.pack(head, {"image": picture}))}


def flat(grey: int, side: int = 64) -> Pixels:
    """A square of one grey, which a fake engine can tell from others."""
    return np.full((side, side, 3), grey, np.uint8)
