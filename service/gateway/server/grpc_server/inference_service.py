"""The calls of `GRPCInferenceService`. Each is a request to a route of `/v2`, with the same checks and limits."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

import grpc
import grpc.aio
import orjson
from starlette.types import ASGIApp

from service.gateway.routes.open_inference.v2_tensors import HEAD_LENGTH
from service.gateway.server.grpc_server import translation
from service.gateway.server.grpc_server.asgi_call import Address, HeaderLine, HttpRequest, HttpResponse, call
from service.gateway.server.grpc_server.generated import open_inference_pb2 as messages
from service.gateway.server.grpc_server.translation import InvalidCallError

SERVICE: Final = "inference.GRPCInferenceService"
# The metadata that a call may have, as the headers of a request have.
PASSED: Final = {
    "authorization",
    "forwarded",
    "priority",
    "request-timeout",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-api-key",
    "x-forwarded-for",
    "x-model-version",
    "x-request-id",
}
MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")
PEER: Final = re.compile(r"ipv[46]:\[?(?P<host>[^\]]+)\]?:(?P<port>\d+)")
NOT_OFFERED: Final = (
    "{} is not offered over gRPC. The HTTP port has the repository index, model configurations and statistics."
)
NO_SUCH_MODEL: Final = "There is no model of this name and version. See GET /v1/models."
SHORTEST_TIMEOUT_S: Final = 0.001

Context = grpc.aio.ServicerContext[Any, Any]
Call = Callable[[Any, Context], Awaitable[Any]]


class InferenceService(grpc.GenericRpcHandler):
    """Answers the calls with the responses of an ASGI app, whose address is `server`."""

    def __init__(self, app: ASGIApp, server: Address, max_timeout_s: float) -> None:
        """Use `max_timeout_s` for longer deadlines: the app refuses them."""
        self._app = app
        self._server = server
        self._max_timeout_s = max_timeout_s
        self._calls: Mapping[str, tuple[Call, Any]] = {
            "ServerLive": (self.server_live, messages.ServerLiveRequest),
            "ServerReady": (self.server_ready, messages.ServerReadyRequest),
            "ModelReady": (self.model_ready, messages.ModelReadyRequest),
            "ServerMetadata": (self.server_metadata, messages.ServerMetadataRequest),
            "ModelMetadata": (self.model_metadata, messages.ModelMetadataRequest),
            "ModelInfer": (self.model_infer, messages.ModelInferRequest),
        }

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a call. The handler of one that is not offered names what is."""
        service, _, name = details.method.removeprefix("/").partition("/")
        if service != SERVICE:
            return None
        if name not in self._calls:
            return grpc.stream_stream_rpc_method_handler(_refusal(name))
        method, request = self._calls[name]
        return grpc.unary_unary_rpc_method_handler(
            method, request_deserializer=request.FromString, response_serializer=_serialized
        )

    async def server_live(self, _: Any, context: Context) -> Any:
        """Answer while the process responds."""
        return messages.ServerLiveResponse(live=await self._is_ok("/v2/health/live", context))

    async def server_ready(self, _: Any, context: Context) -> Any:
        """Return whether this instance can answer."""
        return messages.ServerReadyResponse(ready=await self._is_ok("/v2/health/ready", context))

    async def model_ready(self, request: Any, context: Context) -> Any:
        """Return whether a model can answer. An unknown model is NOT_FOUND."""
        path = await _path_of(request.name, request.version, context)
        return messages.ModelReadyResponse(ready=await self._is_ok(f"{path}/ready", context))

    async def server_metadata(self, _: Any, context: Context) -> Any:
        """Describe the server."""
        return messages.ServerMetadataResponse(**await self._document("/v2", context))

    async def model_metadata(self, request: Any, context: Context) -> Any:
        """Describe a model's tensors."""
        path = await _path_of(request.name, request.version, context)
        return translation.model_metadata(await self._document(path, context))

    async def model_infer(self, request: Any, context: Context) -> Any:
        """Run inference."""
        path = await _path_of(request.model_name, request.model_version, context)
        try:
            length, body = translation.infer_body(request)
        except InvalidCallError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        head = [(HEAD_LENGTH.lower().encode(), str(length).encode())]
        response = await self._request("POST", f"{path}/infer", context, body, head)
        await _check(response, context)
        context.set_trailing_metadata(translation.metadata_of(response))
        return translation.infer_response(response)

    async def _is_ok(self, path: str, context: Context) -> bool:
        response = await self._request("GET", path, context)
        if response.status != 503:
            await _check(response, context)
        return response.status == 200

    async def _document(self, path: str, context: Context) -> Any:
        response = await self._request("GET", path, context)
        await _check(response, context)
        return orjson.loads(response.body)

    async def _request(
        self, method: str, path: str, context: Context, body: bytes = b"", more: list[HeaderLine] | None = None
    ) -> HttpResponse:
        headers = [*self._headers(context), *(more or [])]
        return await call(self._app, HttpRequest(method, path, headers, body, _client(context.peer()), self._server))

    def _headers(self, context: Context) -> list[HeaderLine]:
        """Return the header lines of a call's metadata, and its deadline where it has one and no Request-Timeout."""
        pairs = [(str(name), value) for name, value in context.invocation_metadata() or ()]
        lines = [(name.encode(), str(value).encode()) for name, value in pairs if name in PASSED]
        remaining_s = context.time_remaining()
        if remaining_s is not None and not any(name == b"request-timeout" for name, _ in lines):
            timeout_s = min(max(remaining_s, SHORTEST_TIMEOUT_S), self._max_timeout_s)
            lines.append((b"request-timeout", f"{timeout_s:.3f}".encode()))
        return lines


async def _path_of(name: str, version: str, context: Context) -> str:
    """Return the path of a model. Names that no model can have never reach the routes."""
    if not MODEL_NAME.fullmatch(name) or (version and not MODEL_NAME.fullmatch(version)):
        await context.abort(grpc.StatusCode.NOT_FOUND, NO_SUCH_MODEL)
    return f"/v2/models/{name}/versions/{version}" if version else f"/v2/models/{name}"


async def _check(response: HttpResponse, context: Context) -> None:
    """Abort the call if the response is a problem, with its detail as the message."""
    if response.status >= 400:
        detail = orjson.loads(response.body)["detail"]
        await context.abort(translation.status_of(response.status), detail, tuple(translation.metadata_of(response)))


def _client(peer: str) -> Address:
    """Return the address of a gRPC peer, such as `ipv4:10.0.0.1:5000`."""
    found = PEER.fullmatch(unquote(peer))
    return (found["host"], int(found["port"])) if found else ("", 0)


def _refusal(name: str) -> Callable[[Any, Context], Awaitable[None]]:
    async def refuse(_: Any, context: Context) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, NOT_OFFERED.format(name))

    return refuse


def _serialized(message: Any) -> bytes:
    return bytes(message.SerializeToString())
