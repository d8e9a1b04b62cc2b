"""Processes that end when the one that started them does, however that ends."""

import ctypes
import os
from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def ending_with(parent: int, number: int) -> Callable[[], None]:
    """What a process does once, to have the kernel send it signal `number` when the process `parent` ends."""
    prctl = ctypes.CDLL(None).prctl  # loaded here: what runs between fork and exec may not

    def prepare() -> None:
        prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it ended in between, and the kernel tells only of later ends
            os._exit(1)

    return prepare
