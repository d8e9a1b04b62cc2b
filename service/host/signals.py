"""What signals ask of a command that looks after other processes."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class StopSignal:
    """What signals have asked for: to stop, and by a second one not to wait for anything."""

    to_stop: threading.Event = field(default_factory=threading.Event)
    to_hurry: threading.Event = field(default_factory=threading.Event)


@contextmanager
def signals() -> Iterator[StopSignal]:
    """Answer SIGINT, SIGTERM and SIGHUP by what they ask for instead of by an exception."""
    asked = StopSignal()

    def note(_number: int, _frame: object) -> None:
        (asked.to_hurry if asked.to_stop.is_set() else asked.to_stop).set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
