"""Run the app in uvicorn, and shut down without losing a request."""

import asyncio
import gc
import logging
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from service.config.api_keys import KeysError, check_exposure
from service.config.log_settings import LogSettings
from service.config.logs import Logs
from service.config.settings import Settings
from service.gateway.app import create_app
from service.gateway.server.protocol import Protocol
from service.host.gateway_slots import GatewaySlot, SharedReadiness, open_states
from service.host.run_folders import short_folder
from service.host.served_models.roster import RosterFile

if TYPE_CHECKING:
    from service.gateway.server.grpc_server.listener import GrpcListener

log = logging.getLogger(__name__)

ANY_IPV6 = "::"
# In seconds. Clients should close idle connections so much earlier than the server does: a request that is on its way
# when the server closes is lost.
KEEP_ALIVE_MARGIN_S = 5


def serve(settings: Settings, slot: GatewaySlot | None = None) -> None:
    """Serve until SIGTERM or SIGINT, as the only process or in one slot of several processes.

    Raise `CardError` for a model store that cannot be served, and `KeysError` for invalid or missing keys or
    a missing extra.
    """
    check_exposure(settings.host, protected=settings.authenticates_callers, waived=settings.allow_no_keys)
    logs = Logs("gateway", settings)
    with ExitStack() as open_until_end:
        # For the socket of multiprocessing's fork server: its path would be too long in a long TMPDIR.
        tempfile.tempdir = str(open_until_end.enter_context(short_folder(tempfile.gettempdir())))
        roster = RosterFile.from_environment(os.environ)
        if slot is None:
            app, shared = create_app(settings, roster=roster), False
        else:
            slot.inherit_counters()
            states = SharedReadiness(slot, open_until_end.enter_context(open_states(slot.folder)))
            app, shared = create_app(settings.per_process(slot.count), shared_readiness=states, roster=roster), True
        if (trace_ids := app.state.metrics.tracing.log_filter) is not None:
            logs.add_filter(trace_ids)
        grpc_listener = grpc_listener_of(app, settings, shared=shared)
        server = Server(app, settings, open_until_end.close, logs, grpc_listener)
        _tune_garbage_collector()
        server.run(server.sockets(shared=shared))


def grpc_listener_of(app: FastAPI, settings: Settings, *, shared: bool) -> "GrpcListener | None":
    """Return the listener for gRPC, if the settings name its port. Raise `KeysError` if grpcio is not installed."""
    if settings.grpc_port is None:
        return None
    try:
        from service.gateway.server.grpc_server.listener import GrpcListener  # noqa: PLC0415 - grpcio is an extra
    except ModuleNotFoundError as error:
        raise KeysError(f"RESNEST_GRPC_PORT needs {error.name}: install resnest-service[grpc]") from error
    return GrpcListener(app, settings, shared=shared)


def _tune_garbage_collector() -> None:
    """Exclude the app's objects, which live as long as the process, from garbage collection, and collect less often.

    Measured with the null model and 16 callers, in four alternating runs: 1.55 instead of 1.84 ms of gateway CPU a
    request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 50)


class Server(uvicorn.Server):
    """Uvicorn that drains before it stops: after the first signal it serves for `drain_s` more, with 503 from /readyz.

    A load balancer takes seconds to notice that an instance is not ready. Until then its requests are answered, each
    with `Connection: close`. Then requests in flight have `graceful_timeout_s` to finish. A second signal stops the
    server at once.
    """

    def __init__(
        self,
        app: FastAPI,
        settings: Settings,
        at_end: Callable[[], object] = lambda: None,
        logs: Logs | None = None,
        grpc_listener: "GrpcListener | None" = None,
    ) -> None:
        """Serve the app. Call `at_end` after the last response: then uvicorn ends the process by the signal it got.

        `logs` follows its file, and sets the mode of the app's access log.
        """
        super().__init__(_config_of(app, settings))
        self._app = app
        self._settings = settings
        self._at_end = at_end
        self._grpc_listener = grpc_listener
        self._logs = logs
        if logs is not None:
            logs.on_change = self._set_access_log
            self._set_access_log(logs.settings)
        self._signal: tuple[int, FrameType | None, float] | None = None

    def sockets(self, *, shared: bool = False) -> list[socket.socket] | None:
        """Return sockets for the public port and the admin port; None if uvicorn opens the only one itself.

        With `shared` (several processes on the same ports), every process binds its own sockets, and the kernel spreads
        connections over them by a hash of the addresses. With one socket for all, a process accepts every connection
        that is waiting: of 64 simultaneous callers, one of two processes got 64. With a socket each, they got 35 and 29
        (decision 0016).
        """
        host, port = self._settings.admin_host or self._settings.host, self._settings.admin_port
        if shared:
            addresses = [(self._settings.host, self._settings.port), *([(host, port)] if port is not None else [])]
            return [_listening_socket(*address, shared=True) for address in addresses]
        if self._settings.host == ANY_IPV6:
            addresses = [(self._settings.host, self._settings.port), *([(host, port)] if port is not None else [])]
            return [_listening_socket(*address) for address in addresses]
        if port is None:
            return None
        return [each.bind_socket() for each in (self.config, uvicorn.Config(self._app, host, port, log_config=None))]

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start to drain; uvicorn calls this for SIGTERM and SIGINT."""
        if hasattr(self._app.state, "components"):
            self._app.state.components.readiness.drain()
        if self._signal is not None or self._settings.drain_s == 0:
            super().handle_exit(sig, frame)
        else:
            self._signal = sig, frame, time.monotonic()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, and listen. The gRPC port opens last. The process ends if a port is taken."""
        await super().startup(sockets)
        if self._grpc_listener is not None and self.started:
            try:
                await self._grpc_listener.start()
            except OSError as error:
                log.error("%s", error)
                await super().shutdown(sockets)
                sys.exit(1)

    def _set_access_log(self, settings: LogSettings) -> None:
        self._app.state.access_log.mode = settings.access_log

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish the requests in flight, and stop."""
        if self._grpc_listener is not None:
            stopping = asyncio.create_task(self._grpc_listener.stop())
            self.server_state.tasks.add(stopping)  # uvicorn waits for these before it ends the app
            stopping.add_done_callback(self.server_state.tasks.discard)
        await super().shutdown(sockets)
        self._at_end()

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop; uvicorn calls this every 0.1 s."""
        if self._logs is not None:
            self._logs.follow()
        self._app.state.access_log.flush()
        if self._signal is not None and time.monotonic() - self._signal[2] >= self._settings.drain_s:
            super().handle_exit(*self._signal[:2])
        return await super().on_tick(counter)


def _config_of(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Return uvicorn's configuration."""
    protocol = partial(
        Protocol,
        header_timeout_s=settings.header_timeout_s,
        metrics=app.state.metrics,
        rejections=lambda: app.state.components.rejections,
        access_log=app.state.access_log,
    )
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=protocol,  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.keep_alive_s,
        headers=[("Keep-Alive", f"timeout={max(1, settings.keep_alive_s - KEEP_ALIVE_MARGIN_S)}")],
        timeout_graceful_shutdown=settings.graceful_timeout_s,
    )


def _listening_socket(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Bind a socket. `::` means all addresses of both families."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    for option in (socket.SO_REUSEADDR, *([socket.SO_REUSEPORT] if shared else [])):
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
    if host == ANY_IPV6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(address)
    return listener
