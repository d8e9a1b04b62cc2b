"""Report the state of GPUs as gauges. Worker processes with the same GPU report the same series."""

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from service.worker.resources import gauges, gpu
from service.worker.resources.gpu import Gpus, GpuState

log = logging.getLogger("service.worker")

PERIOD_S: Final = 5.0

# Each with its unit, in the words of TorchServe.
# Read by: dashboard "GPUs", alerts on GPUs.
READABLE: Final = "resnest_gpu_readable", "Count"
UTILIZATION: Final = "resnest_gpu_utilization_ratio", "Ratio"
MEMORY_USED: Final = "resnest_gpu_memory_used_bytes", "Bytes"
MEMORY_LIMIT: Final = "resnest_gpu_memory_limit_bytes", "Bytes"
THROTTLED: Final = "resnest_gpu_throttled", "Count"
GAUGES: Final = (READABLE, UTILIZATION, MEMORY_USED, MEMORY_LIMIT, THROTTLED)


def lines(states: Iterable[GpuState], host: str, now: float) -> Iterator[str]:
    """Yield a line for each value that is known. `now` is the Unix time in seconds."""

    for state in states:
        labels = f"gpu:{state.uuid}"
        yield gauges.line(READABLE, int(state.is_readable), labels, host, now)
        values = {UTILIZATION: state.utilization, MEMORY_USED: state.memory_used, MEMORY_LIMIT: state.memory_limit}
        yield from (
            gauges.line(gauge, value, labels, host, now) for gauge, value in values.items() if value is not None
        )
        for reason, is_throttled in (state.throttled or {}).items():
            yield gauges.line(THROTTLED, int(is_throttled), f"{labels},reason:{reason}", host, now)


def start(
    find: Callable[[], Gpus | None] = gpu.find,
    write: Callable[[str], object] = sys.stdout.write,
    period_s: float = PERIOD_S,
) -> threading.Thread | None:
    """Report this process's GPUs every `period_s` seconds, in a thread.

    Return None if there are none, or if they cannot be searched for, which is logged: it must not stop the worker.
    """
    try:
        gpus = find()
        if gpus is None:
            return None
        thread = threading.Thread(target=_report, args=(gpus, write, period_s), daemon=True)
        thread.start()
    except Exception:  # for example an AttributeError, because another package has a module `pynvml` too
        log.exception("this worker does not report the state of its GPUs")
        return None
    return thread


def _report(gpus: Gpus, write: Callable[[str], object], period_s: float) -> None:
    host = socket.gethostname()
    try:
        while True:
            # In one piece, which lines of other threads do not divide.
            write("".join(f"{line}\n" for line in lines(gpus.states(), host, time.time())))
            sys.stdout.flush()
            time.sleep(period_s)
    except Exception:
        log.exception("this worker reports the state of its GPUs no longer")
