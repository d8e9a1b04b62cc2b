"""Import OpenVINO without telemetry, and share one `Core` in the process."""

import importlib
import importlib.util
import sys
from functools import cache
from typing import Any


def is_installed() -> bool:
    """Return whether OpenVINO can be imported, without importing it."""
    return importlib.util.find_spec("openvino") is not None


def package() -> Any:
    """Import and return the package with telemetry disabled; otherwise it would report its use over the network."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


@cache
def core() -> Any:
    """Return the one `Core` of the process, which is never destroyed.

    Each `Core` installs an alternate signal stack in the thread that first uses it. If two are destroyed in the order
    of their creation, the thread keeps the freed stack of the first (OpenVINO 2026.4). The next signal with a handler,
    for example Ctrl-C, then ends the process with a segmentation fault.
    """
    return package().Core()


def last_line(error: BaseException) -> str:
    """Return the last line of an OpenVINO error, which is the innermost of its reasons."""
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
