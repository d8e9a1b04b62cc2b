"""The main loop of a decode process: it runs one job after another on untrusted bytes, each within its limits."""

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
from service.host.processes import parent_death_signal

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h
LARGE_BLOCK = 8 << 20  # bytes; smaller blocks stay allocated, or the kernel would clear their pages for each photo


@dataclass(frozen=True)
class ProcessLimits:
    """The limits of one job: bytes of address space in addition to the process's own, and seconds of CPU time."""

    memory: int
    cpu_s: int


def serve(link: socket.socket, limits: ProcessLimits, nice: int) -> None:
    """Run jobs from the socket until its other end closes, or the process that forked this one ends.

    `nice` is added to the niceness of this process.
    """
    os.nice(nice)
    _close_all_but(link.fileno())
    parent_death_signal(os.getppid(), signal.SIGKILL)()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the whole group; the gateway ends this one
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # an image gets one core, and each thread takes 70 MB of address space
    _release_large_blocks()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _be_killed_first()
    _limit(resource.RLIMIT_AS, _address_space() + limits.memory)
    link.settimeout(None)
    with link, link.makefile("rb") as incoming, suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            work, args = pickle_frames.read(incoming)
            _limit(resource.RLIMIT_CPU, int(time.process_time()) + 1 + limits.cpu_s)
            pickle_frames.write(link, outcome_of(work, args))


def outcome_of(work: Callable[..., Any], args: tuple[Any, ...]) -> tuple[bool, Any]:
    """Run a job; return whether it succeeded, and what it returned or raised."""
    try:
        return True, work(*args)
    except Exception as error:
        return False, error


def _limit(kind: int, soft: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _close_all_but(descriptor: int) -> None:
    """Close what multiprocessing passes on: its fork server runs as long as any process has its pipe open."""
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _release_large_blocks() -> None:
    """Make glibc return large blocks at once; otherwise one image's memory counts against the next one's limit."""
    with suppress(AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(M_TRIM_THRESHOLD, 4 * LARGE_BLOCK)
        mallopt(M_ARENA_MAX, 1)  # each further arena takes 64 MB of address space


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as pages:  # noqa: PTH123 - a process's own numbers, not a file
        return int(pages.read().split()[0]) * resource.getpagesize()


def _be_killed_first() -> None:
    """Make the kernel kill this process before the gateway when memory is short; not every system allows it."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:  # noqa: PTH123
        score.write("1000")
