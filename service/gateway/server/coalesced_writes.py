"""What is written to a connection one after the other, sent as one."""

import asyncio

UNREAD_S = 60.0


class CoalescedWriter:
    """A connection to which an answer's head is sent with what is written next to it in the same turn of the loop.

    Uvicorn writes head and body one after the other, and uvloop sends each of them at once, so that both ends would pay
    for two packets.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self._clock: asyncio.TimerHandle | None = None

    def write(self, data: bytes) -> None:
        """Send with what is written next, when the loop turns, or at `flush`, whichever is first."""
        if not data:
            return
        if self._held:
            held, self._held = self._held, b""
            self._transport.writelines((held, data))
        else:
            self._held = data
            self._loop.call_soon(self.flush)

    def send(self, data: bytes) -> None:
        """Send at once, behind what is held."""
        self.flush()
        if not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Close, when all is sent."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether it is closed, or will be."""
        return self._transport.is_closing()

    def flush(self) -> None:
        """Send what is still held."""
        if self._held and not self._transport.is_closing():
            self._transport.write(self._held)
        self._held = b""

    def expect_reading(self) -> None:
        """End the connection where in `UNREAD_S` the client takes nothing of what is written, and so on."""
        self._clock = self._loop.call_later(UNREAD_S, self._look, self._transport.get_write_buffer_size())

    def expect_nothing(self) -> None:
        """Expect it no longer."""
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _look(self, before: int) -> None:
        if self._transport.get_write_buffer_size() < before:
            self.expect_reading()
        else:
            self._transport.abort()
