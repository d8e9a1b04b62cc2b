"""The process: uvicorn around the app, and an end that loses no request."""

import gc
import logging
import socket
import time
from functools import partial
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.config.api_keys import check_exposure
from service.config.settings import Settings
from service.gateway.app import create_app
from service.gateway.inference.siblings import SlotMember
from service.gateway.server.protocol import Protocol
from service.host.gateway_slots import GatewaySlot, states


def serve(settings: Settings, seat: GatewaySlot | None = None) -> None:
    """Serve until SIGTERM or SIGINT, alone or from a seat among several processes.

    Raises `CardError` for a model store that cannot be served, `KeysError` for keys that cannot be used or are missing.
    """
    check_exposure(settings.host, protected=settings.asks_callers, waived=settings.allow_no_keys)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns with bytes of the upload
    if seat is None:
        server = Server(create_app(settings), settings)
        _collect_seldom()
        server.run(server.doors())
        return
    seat.inherit()
    with states(seat.folder) as shared:
        server = Server(create_app(settings.part(seat.of), sitting=SlotMember(seat, shared)), settings)
        _collect_seldom()
        server.run(server.doors(shared=True))


def _collect_seldom() -> None:
    """Have the garbage collector pass over the app, which lives as long as the process, and look less often.

    1.55 ms of the gateway's processor a request instead of 1.84 (null model, 16 callers, four runs by turns).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 50)


class Server(uvicorn.Server):
    """Uvicorn that, at the first signal, goes on serving for `drain_s` while /readyz says 503, and then ends.

    A load balancer takes seconds to notice that an instance is not ready; until then its requests are answered, each
    with `Connection: close`. At the end requests in flight have `graceful_timeout_s`. A second signal ends at once.
    """

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                loop="uvloop",
                http=partial(  # type: ignore[arg-type]
                    Protocol,
                    header_timeout_s=settings.header_timeout_s,
                    metrics=app.state.metrics,
                    repeats=lambda: app.state.gateway.repeats,
                ),
                ws="none",
                lifespan="on",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=settings.keep_alive_s,
                timeout_graceful_shutdown=settings.graceful_timeout_s,
            )
        )
        self._app = app
        self._settings = settings
        self._signal: tuple[int, FrameType | None, float] | None = None

    def doors(self, *, shared: bool = False) -> list[socket.socket] | None:
        """Sockets at the public and the administrators' port; None where uvicorn opens the only one itself.

        Where other processes share the ports, the kernel deals out connections by a hash of their addresses. With one
        socket for all, a process takes all that have come while it looks: 64 callers at once were 64 to one process of
        two, and 35 to 29 like this (decision 0016).
        """
        host, port = self._settings.admin_host or self._settings.host, self._settings.admin_port
        if shared:
            places = [(self._settings.host, self._settings.port), *([(host, port)] if port is not None else [])]
            return [_shared_door(*place) for place in places]
        if port is None:
            return None
        return [each.bind_socket() for each in (self.config, uvicorn.Config(self._app, host, port, log_config=None))]

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the end; uvicorn calls it for SIGTERM and SIGINT."""
        if hasattr(self._app.state, "gateway"):
            self._app.state.gateway.readiness.drain()
        if self._signal is not None or self._settings.drain_s == 0:
            super().handle_exit(sig, frame)
        else:
            self._signal = sig, frame, time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        """Whether to end; uvicorn asks every tenth of a second."""
        if self._signal is not None and time.monotonic() - self._signal[2] >= self._settings.drain_s:
            super().handle_exit(*self._signal[:2])
        return await super().on_tick(counter)


def _shared_door(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    door = socket.socket(family, kind, protocol)
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        door.setsockopt(socket.SOL_SOCKET, option, 1)
    door.bind(address)
    return door
