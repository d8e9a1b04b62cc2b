"""TorchServe's side of its connection to a worker process."""

import socket
import struct
import time
from pathlib import Path

from service.worker.messages import INTEGER

TIMEOUT_S = 60.0
HANDLER = "tests.worker.echo_handler"


def load_message(folder: Path, model: str = "model", handler: str = HANDLER, gpu: int = -1) -> bytes:
    """Return the message that loads a model."""
    texts = [_text(each.encode()) for each in (model, str(folder))]
    return b"".join([b"L", *texts, INTEGER.pack(1), _text(handler.encode()), INTEGER.pack(gpu), _text(b""), b"\1"])


def batch_message(*bodies: bytes) -> bytes:
    """Return the message with a batch of requests, which are named by their positions."""
    header = _text(b"X-Request-ID") + _text(b"id") + END
    parts = (_text(b"body") + _text(b"") + _text(body) + END for body in bodies)
    requests = (_text(b"%d" % index) + header + part for index, part in enumerate(parts))
    return b"".join([b"I", *requests, END])


END = INTEGER.pack(-1)


def _text(content: bytes) -> bytes:
    return INTEGER.pack(len(content)) + content


class Connection:
    """A connection to a worker process, at the address where it listens."""

    def __init__(self, address: Path) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(TIMEOUT_S)
        while True:
            try:
                self.socket.connect(str(address))
                break
            except OSError:
                assert time.monotonic() < deadline, f"{address} does not listen"
                time.sleep(0.02)
        self._stream = self.socket.makefile("rb")

    def exchange(self, message: bytes) -> tuple[int, list[bytes]]:
        """Return the status and the bodies of the reply. Raises `EOFError` if the connection ends."""
        self.send(message)
        return self.receive()

    def send(self, message: bytes) -> None:
        """Send a message."""
        try:
            self.socket.sendall(message)
        except ConnectionError:
            raise EOFError from None

    def receive(self) -> tuple[int, list[bytes]]:
        """Return the status and the bodies of a reply."""
        status, bodies = self._integer(), []
        self._bytes(self._integer())
        while (length := self._integer()) >= 0:
            self._bytes(length)
            self._bytes(self._integer())
            assert self._integer() == status
            self._bytes(self._integer())
            assert self._integer() == 0, "headers"
            bodies.append(self._bytes(self._integer()))
        return status, bodies

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()
        self.socket.close()

    def _integer(self) -> int:
        return int(struct.unpack("!i", self._bytes(4))[0])

    def _bytes(self, length: int) -> bytes:
        try:
            content = self._stream.read(length)
        except ConnectionError:
            raise EOFError from None
        if len(content) < length:
            raise EOFError
        return content
