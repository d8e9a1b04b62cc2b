"""Write gauges for TorchServe, which serves them to Prometheus at its metrics address.

TorchServe takes a line `[METRICS]name.unit:value|#label:value|#type:GAUGE|#hostname:host,time` on a worker's standard
output as a gauge.
"""

import socket
import sys
import time
from collections.abc import Callable
from typing import Final

# With its unit, in the words of TorchServe.
# Read by: dashboard "Health" (time to load).
LOAD_TIME: Final = "resnest_model_load_seconds", "Seconds"


def line(gauge: tuple[str, str], value: float, labels: str, host: str, now: float) -> str:
    """Return the line for a gauge: name and unit, labels as `name:value` by commas, and the Unix time in seconds."""
    return f"[METRICS]{'.'.join(gauge)}:{value}|#{labels}|#type:GAUGE|#hostname:{host},{int(now)}"


def report_load_time(model: str, seconds: float, write: Callable[[str], object] = sys.stdout.write) -> None:
    """Report how long a worker process took to load a model, with its first batches."""
    write(f"{line(LOAD_TIME, round(seconds, 3), f'model:{model}', socket.gethostname(), time.time())}\n")
    sys.stdout.flush()
