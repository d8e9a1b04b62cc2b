"""Jobs that do to their process what hostile pictures would."""

import ctypes
import os
import signal
import time
from contextlib import suppress

from service.errors import ImageTooLarge
from service.gateway.fitting import Pixels


def add(one: int, other: int) -> int:
    return one + other


def both(one: bytes, other: Pixels) -> tuple[bytes, Pixels]:
    return one, other


def own_pid() -> int:
    return os.getpid()


def crash() -> None:
    ctypes.string_at(0)


def spin() -> None:
    while True:
        pass


def hang() -> None:
    time.sleep(600)


def swell(size: int) -> int:
    return len(bytearray(size))


def leave(code: int = 3) -> None:
    os._exit(code)


def babble() -> None:
    """Write what is no frame into every socket, and wait."""
    for descriptor in range(3, 64):
        with suppress(OSError):
            os.write(descriptor, b"\xff" * 64)
    hang()


def nap(seconds: float) -> None:
    time.sleep(seconds)


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def be_killed_once(marker: str) -> str:
    if not os.path.exists(marker):  # noqa: PTH110
        os.close(os.open(marker, os.O_CREAT))
        be_killed()
    return "second"


def refuse() -> None:
    raise ImageTooLarge("too large", limit=3, actual=4)
