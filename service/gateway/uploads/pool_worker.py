"""What a process does that works on hostile bytes: one job after another, each within its bounds."""

import ctypes
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from PIL import AvifImagePlugin

from service.gateway.uploads import pickle_frames
from service.host.parent_death import ending_with

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h
LARGE_BLOCK = 8 << 20  # bytes; smaller ones are kept, or the kernel would clear the pages of each photo anew


@dataclass(frozen=True)
class ProcessLimits:
    """What one job may take: bytes of address space beyond the process's own, and seconds of its processor."""

    memory: int
    cpu_s: int


def serve(link: socket.socket, bounds: ProcessLimits, nice: int) -> None:
    """Do one job after the other until the other end closes, or the process that forked this one ends.

    `nice` is how far it gives way to others.
    """
    os.nice(nice)
    _close_all_but(link.fileno())
    ending_with(os.getppid(), signal.SIGKILL)()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the whole group; the gateway ends us
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # a picture gets one core; and each thread takes 70 MB of address space
    _give_memory_back()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _be_the_first_to_go()
    _bound(resource.RLIMIT_AS, _address_space() + bounds.memory)
    link.settimeout(None)
    with link, link.makefile("rb") as incoming, suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            work, args = pickle_frames.read(incoming)
            _bound(resource.RLIMIT_CPU, int(time.process_time()) + 1 + bounds.cpu_s)
            pickle_frames.write(link, outcome_of(work, args))


def outcome_of(work: Callable[..., Any], args: tuple[Any, ...]) -> tuple[bool, Any]:
    """Whether the job answered, and what it returned or raised."""
    try:
        return True, work(*args)
    except Exception as error:
        return False, error


def _bound(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _close_all_but(descriptor: int) -> None:
    """Give up what multiprocessing hands down: its server would live as long as any process that has its pipe."""
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _give_memory_back() -> None:
    """Have glibc give large blocks back at once: what one picture leaves would count against the next one's bounds."""
    with suppress(AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(M_TRIM_THRESHOLD, 4 * LARGE_BLOCK)
        mallopt(M_ARENA_MAX, 1)  # each further one takes 64 MB of address space


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as pages:  # noqa: PTH123 - a process's own figures, no path
        return int(pages.read().split()[0]) * resource.getpagesize()


def _be_the_first_to_go() -> None:
    """Have the kernel, short of memory, end this process before the gateway; not everywhere may one ask for it."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:  # noqa: PTH123
        score.write("1000")
