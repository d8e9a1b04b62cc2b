"""Coalesce consecutive writes to a connection into one."""

import asyncio
from contextlib import suppress

UNREAD_S = 60.0


class CoalescedWriter:
    """Sends the head and the body of a response together if both are written in the same event loop iteration.

    Uvicorn writes them separately, and uvloop sends each write at once, so both ends would handle two packets.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self._is_ended = False
        self._read_timer: asyncio.TimerHandle | None = None

    def write(self, data: bytes) -> None:
        """Send with the next write, at the end of the loop iteration, or at `flush`, whichever is first."""
        if not data or self._is_ended:
            return
        if self._held:
            held, self._held = self._held, b""
            self._transport.writelines((held, data))
        else:
            self._held = data
            self._loop.call_soon(self.flush)

    def send(self, data: bytes) -> None:
        """Send at once, after the held data."""
        self.flush()
        if not self._is_ended and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Close after everything is sent."""
        self.flush()
        self._transport.close()

    def write_eof(self) -> None:
        """End our direction after everything is sent, and go on receiving. What is written later is discarded.

        Uvicorn writes `100 Continue` for an application that still reads the body of a refused request.
        """
        self.flush()
        self._is_ended = True
        if not self._transport.is_closing() and self._transport.can_write_eof():
            with suppress(OSError):  # the client has reset the connection
                self._transport.write_eof()

    def is_closing(self) -> bool:
        """Return whether the connection is closed or closing."""
        return self._transport.is_closing()

    def flush(self) -> None:
        """Send the held data."""
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)

    def start_read_timer(self) -> None:
        """Abort the connection if the client reads nothing of the written data for `UNREAD_S`."""
        self._read_timer = self._loop.call_later(
            UNREAD_S, self._check_progress, self._transport.get_write_buffer_size()
        )

    def stop_read_timer(self) -> None:
        """Stop waiting for the client to read."""
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _check_progress(self, before: int) -> None:
        if self._transport.get_write_buffer_size() < before:
            self.start_read_timer()
        else:
            self._transport.abort()
