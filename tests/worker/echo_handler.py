"""A handler for worker processes in tests, which returns the bodies, or fails as a body asks."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class EchoHandler:
    """Return each body with the process's id before it. Bodies may ask for failures."""

    def initialize(self, context: Any) -> None:
        """Fail if the model's folder asks for that."""
        if Path(context.system_properties["model_dir"], "broken").exists():
            raise ValueError("broken weights")

    def handle(self, data: list[dict[str, bytearray]], context: Any) -> list[bytes]:
        """Return the bodies."""
        for request in data:
            FAILURES.get(bytes(request["body"]), lambda: None)()
        return [b"%d %s" % (os.getpid(), request["body"]) for request in data]


def _raise(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


FAILURES: dict[bytes, Callable[[], None]] = {
    b"fail": _raise(ValueError("a failing batch")),
    b"no memory": _raise(MemoryError()),
    b"device lost": _raise(SystemExit(1)),
    b"hang": lambda: time.sleep(60),
    b"sleep": lambda: time.sleep(1),
}
