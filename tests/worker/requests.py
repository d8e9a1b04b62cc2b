"""The arguments that TorchServe passes to a handler."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from service.tasks import frame

Pixels = npt.NDArray[np.uint8]


def context(folder: Path, gpu: int | None = None) -> Any:
    """Return TorchServe's context for a worker whose model directory is `folder`."""
    return SimpleNamespace(system_properties={"model_dir": str(folder), "gpu_id": gpu, "batch_size": 8})


def request(image: npt.NDArray[Any], **head: Any) -> dict[str, Any]:
    """Return a request with an image, as the gateway sends it."""
    return {"body": bytearray(frame.pack(head, {"image": image}))}


def flat(grey: int, side: int = 64) -> Pixels:
    """Return a square of one grey level, by which a fake engine distinguishes images."""
    return np.full((side, side, 3), grey, np.uint8)
