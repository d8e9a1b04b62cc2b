"""OpenVINO itself, as every user of it here gets it: silent, and one `Core` for the process."""

import importlib
import importlib.util
import sys
from functools import cache
from typing import Any


def installed() -> bool:
    """Whether OpenVINO can be imported; this does not."""
    return importlib.util.find_spec("openvino") is not None


def package() -> Any:
    """The package, imported so that it stays silent: it would report its use to its makers over the network."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


@cache
def core() -> Any:
    """The process's one `Core`, which is never given back.

    Each `Core` lends the thread that first uses it a stack for signals. Where two are given back in the order in which
    they were made, the first one's stack is gone and yet the thread's own (OpenVINO 2026.4), and the next signal that
    has a handler, a Ctrl-C for instance, ends the process with a segmentation fault.
    """
    return package().Core()


def last_line(error: BaseException) -> str:
    """The deepest of the reasons that an error of OpenVINO's gives, each of which is a line."""
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
