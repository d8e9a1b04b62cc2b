"""The machine on which a measurement runs."""

import os
import platform
from typing import Any

from service.config.cores import usable_cores


def describe() -> dict[str, Any]:
    """Return a description of this machine, which often runs the service too."""
    return {
        "cores": usable_cores(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "system": platform.system(),
        "load_average": os.getloadavg()[0],
    }
