"""Serve the connections of a model's worker processes with one handler, each connection in a thread.

While one batch is computed, the next one is received and checked, and the one before is answered.
"""

import importlib
import inspect
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from io import BufferedReader
from types import SimpleNamespace
from typing import Any, NoReturn, Protocol, cast

from service.host.processes import loading_modules
from service.models.cards import CardError
from service.worker import drain, election, messages
from service.worker.election import Leader, Terms
from service.worker.messages import BatchRequest, LoadMessage
from service.worker.resources import gauges, gpu_report

log = logging.getLogger("service.worker")


class Handler(Protocol):
    """What computes batches: the methods of a TorchServe handler."""

    def initialize(self, context: Any) -> None:
        """Load the model in the folder that `context` names."""

    def handle(self, data: list[dict[str, bytearray]], context: Any) -> list[bytes]:
        """Return a response for each request. Several threads call this at the same time."""


def lead(
    leader: Leader, connection: socket.socket, stream: BufferedReader, load: LoadMessage, terms: Terms
) -> NoReturn:
    """Load the model, and serve until TorchServe closes this process's own connection, or until anything fails."""
    with _ending_the_process():
        service = Connections(new_handler(load.handler), load, terms)
        _start(service.take_followers, leader.listener)
        gpu_report.start()
        started = time.monotonic()
        service.load()
        gauges.report_load_time(load.model, time.monotonic() - started)
        service.serve(connection, stream)
    os._exit(0)


def new_handler(module: str) -> Handler:
    """Return an instance of the only class that the module defines."""
    with loading_modules():
        found = importlib.import_module(module)
    (kind,) = (each for _, each in inspect.getmembers(found, inspect.isclass) if each.__module__ == found.__name__)
    return cast("Handler", kind())


class Connections:
    """The connections to TorchServe of one leader and of its followers, and the handler that answers them."""

    def __init__(self, handler: Handler, load: LoadMessage, terms: Terms) -> None:
        self._handler = handler
        self._model = load.model
        self._hang_s = terms.hang_s
        self._context = SimpleNamespace(system_properties={"model_dir": load.folder, "gpu_id": load.gpu})
        self._loaded = threading.Event()
        self._places = threading.Semaphore(terms.followers)

    def load(self) -> None:
        """Load the model. Raises what the handler raises."""
        self._handler.initialize(self._context)
        self._loaded.set()

    def serve(self, connection: socket.socket, stream: BufferedReader) -> None:
        """Say that the model is loaded, once it is, and answer batches until the connection ends.

        Once the worker stops, no batch begins: its gateway sends it elsewhere when the connection ends.
        """
        self._loaded.wait()
        with suppress(EOFError, ConnectionError), connection, closing(drain.BatchMark()) as in_progress:
            connection.sendall(messages.reply(200, f"loaded model {self._model}"))
            while True:
                batch = messages.read(stream)
                if isinstance(batch, LoadMessage):
                    raise TypeError("TorchServe sent a second model")
                with in_progress as may_begin:
                    if may_begin:
                        connection.sendall(self._answer(batch))
                if not may_begin:
                    election.wait_for_end(connection)

    def take_followers(self, listener: socket.socket) -> None:
        """Serve the connections of followers, and refuse followers for which there is no place."""
        while True:
            control, _ = listener.accept()
            if self._places.acquire(blocking=False):
                _start(self._follow, control)
            else:
                control.close()

    def _follow(self, control: socket.socket) -> None:
        """Serve the connection of one follower until the follower ends. TorchServe then starts another one."""
        connection = election.welcome(control)
        if connection:
            serving = _start(self.serve, connection, connection.makefile("rb"))
            election.wait_for_end(control)
            with suppress(OSError):  # TorchServe may have closed it
                connection.shutdown(socket.SHUT_RDWR)
        control.close()
        self._places.release()
        if connection:
            serving.join(self._hang_s)
            if serving.is_alive():
                raise TimeoutError("a batch hangs")

    def _answer(self, batch: list[BatchRequest]) -> bytes:
        names = [request.name for request in batch]
        try:
            responses = self._handler.handle([dict(request.bodies) for request in batch], self._context)
            return messages.reply(200, "Prediction success", names, responses)
        except Exception as error:
            log.exception("a batch failed")
            status = 507 if isinstance(error, MemoryError) else 503
            return messages.reply(status, "Prediction failed", names, [b"error"] * len(batch))


@contextmanager
def _ending_the_process() -> Iterator[None]:
    """End the process if the block raises, with all its threads and connections."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, CardError):  # whose reason the handler has logged in one line
            log.critical("the worker process ends", exc_info=True)
        os._exit(1)  # the interpreter's own end would wait for threads that hang


def _start(target: Callable[..., None], *arguments: object) -> threading.Thread:
    """Run `target` in a thread. If it raises, the process ends, because TorchServe then starts a new one."""

    def run() -> None:
        with _ending_the_process():
            target(*arguments)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
