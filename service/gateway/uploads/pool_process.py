"""One decode process, seen from the gateway: its start, the socket to it, and its end."""

import asyncio
import multiprocessing
import socket
import threading
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, cast

from service.gateway.uploads import pickle_frames
from service.gateway.uploads.pool_worker import ProcessLimits, serve

JOIN_S = 5.0
SOCKET_BUFFER: Final = 1 << 20  # bytes; the kernel may allow fewer
PRELOAD = [
    "__main__",
    "service.tasks.decode_jobs",
    "service.gateway.uploads.pool_worker",
    "service.imaging.mask_painting",
    "cykooz_resizer",  # a missing module is passed over
]
MISSED: Final = 255  # the exit code that multiprocessing reports if the fork server ended before the process

# multiprocessing polls all its other children when it starts one. Two polls at the same time lose an exit code.
POLL_LOCK: Final = threading.Lock()


class PoolProcess:
    """One process and the socket to it."""

    def __init__(self, process: BaseProcess, link: socket.socket, max_bytes: int) -> None:
        self.process = process
        self._link = link
        self._max_bytes = max_bytes  # of an outcome

    @classmethod
    def start(cls, limits: ProcessLimits, nice: int) -> "PoolProcess":
        """Start a process with these limits, and with `nice` added to its niceness. Raises `OSError` or `EOFError`."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                for end in (ours, theirs):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
                process = context.Process(target=serve, args=(theirs, limits, nice), daemon=True)
                with POLL_LOCK:
                    process.start()
        except BaseException:
            ours.close()
            raise
        ours.settimeout(0)
        return cls(process, ours, limits.memory)

    async def run(self, parts: Sequence[memoryview]) -> tuple[bool, Any]:
        """Return the outcome of a packed job.

        Raises `OSError` if the process ends, and any exception if it sends something other than a frame.
        """
        await self._send(parts)
        size, count = pickle_frames.HEAD.unpack(await self._receive(pickle_frames.HEAD.size))
        head = await self._receive(count * pickle_frames.LENGTH.size + size)
        buffers = [await self._receive(length) for length in pickle_frames.lengths(head, count)]
        return cast("tuple[bool, Any]", pickle_frames.unpack(head, count, buffers))

    @property
    def is_idle(self) -> bool:
        """Whether the process lives and has not sent anything without a job."""
        try:
            self._link.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    @property
    def has_ended(self) -> bool:
        """Whether the process is certain to have ended; call `join` first."""
        code = self.process.exitcode
        return code is not None and (code != MISSED or not Path(f"/proc/{self.process.pid}").exists())

    def kill(self) -> None:
        """Kill the process."""
        self.process.kill()

    def join(self) -> int | None:
        """Wait until the process has ended, killing it if necessary; return its exit code, negative for a signal."""
        self._link.close()
        with POLL_LOCK:
            self.process.join(JOIN_S)
            self.process.kill()
            self.process.join(JOIN_S)
            return self.process.exitcode

    async def _send(self, parts: Sequence[memoryview]) -> None:
        loop = asyncio.get_running_loop()
        for part in pickle_frames.remaining(parts, self._link.sendmsg(parts)):
            await loop.sock_sendall(self._link, part)

    async def _receive(self, length: int) -> bytearray:
        loop = asyncio.get_running_loop()
        if length > self._max_bytes:
            raise ValueError
        received = bytearray(length)
        view, at = memoryview(received), 0
        while at < length:
            count = await loop.sock_recv_into(self._link, view[at:])
            if count == 0:
                raise ConnectionResetError
            at += count
        return received
