"""Listen for gRPC calls beside uvicorn, in its event loop."""

from typing import Final

import grpc
import grpc.aio
from starlette.types import ASGIApp

from service.config.settings import Settings
from service.gateway.server.grpc_server.inference_service import InferenceService

HEAD_BYTES: Final = 64 << 10  # of a message beside its images
METADATA_BYTES: Final = 16 << 10
SPARE_CALLS: Final = 16  # for calls without images, such as probes, while `max_in_flight` others are in progress


class GrpcListener:
    """A gRPC server on `grpc_port`, which several processes can share; the kernel spreads connections over them."""

    def __init__(self, app: ASGIApp, settings: Settings, *, shared: bool) -> None:
        """Prepare to answer with `app`. Whole messages are in memory, so their size and number are limited."""
        self._app = app
        self._settings = settings
        self._shared = shared
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Listen, and return the port. Raise `OSError` if it is taken."""
        host, port = self._settings.host, self._settings.grpc_port or 0
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        server = grpc.aio.server(  # here, because it belongs to the event loop that runs
            options=[
                ("grpc.max_receive_message_length", self._settings.max_upload_bytes + HEAD_BYTES),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_metadata_size", METADATA_BYTES),
                ("grpc.so_reuseport", int(self._shared)),
            ],
            maximum_concurrent_rpcs=self._settings.max_in_flight + SPARE_CALLS,
        )
        try:
            bound = int(server.add_insecure_port(address))
        except RuntimeError as error:
            raise OSError(f"cannot listen for gRPC on {address}: {error}") from error
        service = InferenceService(self._app, (host, bound), self._settings.max_request_timeout_s)
        server.add_generic_rpc_handlers((service,))
        await server.start()
        self._server = server
        return bound

    async def stop(self) -> None:
        """Accept no further calls, and end those in progress after `graceful_timeout_s`."""
        if self._server is not None:
            await self._server.stop(self._settings.graceful_timeout_s)
