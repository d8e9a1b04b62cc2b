"""The settings of the gateway; each is an environment variable with the prefix `RESNEST_`."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, IPvAnyNetwork, SecretStr, StringConstraints, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from service.config.api_keys import MAX_LIMIT, MIN_RATE, Quota
from service.config.cores import usable_cores
from service.config.log_settings import LogSettings
from service.config.tracing.trace_settings import TraceSettings
from service.imaging.decoder import ImageLimits
from service.models.default_store import default_store
from service.tasks import shared_image

MEBIBYTE = 1 << 20

# Measured: 19 for a lossless WebP, the largest of all formats and modes.
DECODE_BYTES_PER_PIXEL = 20
DECODE_SLACK = 256 * MEBIBYTE  # address space of a decoder's threads: their stacks and arenas, mostly unused

SHUTDOWN_MARGIN_S = 15.0  # for the work after the last response


def _split(names: object) -> object:
    return _words(names) if isinstance(names, str) else names


def _words(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


# Asymmetric algorithms only: a key set is public, and with HS256 anyone who can verify a token can also sign one.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
# As a browser writes it: no path, no user, no default port.
Origin = Annotated[
    str,
    StringConstraints(
        pattern=r"^(\*|https?://[a-z0-9.-]+(:[1-9][0-9]{0,4})?|https?://\[[0-9a-f:]+\](:[1-9][0-9]{0,4})?)$"
    ),
]


@dataclass(frozen=True)
class ServerAddress:
    """The inference and management URLs of a model server: `http://host:port` or `unix:/path`.

    A host may have several addresses, each of which is a server.
    """

    inference: str
    management: str

    @property
    def host(self) -> str | None:
        """The host name to look up; None for a Unix socket."""
        return urlsplit(self.inference).hostname if not self.inference.startswith("unix:") else None


class Settings(TraceSettings, LogSettings):
    """The gateway's settings. An instance reads the environment when it is created."""

    model_config = SettingsConfigDict(env_prefix="RESNEST_", frozen=True)

    model_store: Path = Field(
        default_factory=default_store,
        description="folder of the model folders; if unset, the default here or in the checkout, or the installed one",
    )
    models: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(),
        description="models to serve, separated by commas; if unset, all in the store whose weights are present",
    )
    default_models: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(),
        description="models that answer requests without a model name, separated by commas, at most one for each task. "
        "Otherwise it is the first of `models`, or the model of the store that was added first.",
    )
    traffic_file: Path | None = Field(
        default=None,
        description="TOML file with the traffic shares of each model's versions; reloaded when it changes",
    )
    inference_url: str = Field(
        default="http://127.0.0.1:8080",
        description="inference URLs of the model servers, each http://host:port or unix:/path, separated by commas. "
        "Each address of a host is a server. Hosts are looked up again every five seconds.",
    )
    management_url: str = Field(
        default="http://127.0.0.1:8081", description="management URLs of the same servers, in the same order"
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on")
    gateway_workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="gateway processes that share the port and most of the limits below",
    )
    admin_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="port for /metrics and /v1/traffic, without a key; `port` then no longer serves them",
    )
    admin_host: str = Field(default="", description="address of the admin port; if unset, `host`")
    grpc_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="port for gRPC clients of the Open Inference Protocol; needs resnest-service[grpc]",
    )
    cors_origins: Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(),
        description="origins whose web pages may call, such as https://app.example, separated by commas; or * for all",
    )
    playground: bool = Field(
        default=True, description="serve the playground, a page to try the models, to browsers at /"
    )
    keys: str = Field(default="", description="API keys, one line each as `resnest-service keys new` writes it")
    keys_file: Path | None = Field(default=None, description="file of such lines; reloaded when it changes")
    allow_no_keys: bool = Field(default=False, description="serve beyond loopback without authentication")
    jwt_keys: str = Field(
        default="",
        description="key set (JWKS) of the issuer whose tokens (JWT) are accepted: a file or an https:// URL",
    )
    jwt_issuer: str = Field(default="", description="required `iss` of a token")
    jwt_audience: str = Field(default="", description="value that `aud` of a token must be or contain")
    jwt_algorithms: Annotated[tuple[Algorithm, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=("RS256", "ES256"),
        min_length=1,
        description="signature algorithms that are accepted, separated by commas",
    )
    jwt_scope_claim: str = Field(default="scope", description="claim with a caller's scopes: a list, or words")
    jwt_leeway_s: float = Field(default=30, ge=0, le=300, description="seconds that an issuer's clock may differ")
    caller_rate: float | None = Field(
        default=None, ge=MIN_RATE, le=MAX_LIMIT, description="images a second of a caller whose key sets no rate"
    )
    caller_burst: int | None = Field(
        default=None,
        ge=1,
        le=MAX_LIMIT,
        description="images at once, refilled by `caller_rate`; if unset, one second's images or `max_images`, "
        "whichever is more",
    )
    caller_concurrency: int | None = Field(
        default=None, ge=1, le=MAX_LIMIT, description="concurrent requests of a caller whose key sets no such limit"
    )
    redis_url: SecretStr = Field(
        default=SecretStr(""), description="redis:// or rediss:// URL at which gateways share callers' limits"
    )
    redis_timeout_s: float = Field(default=0.1, gt=0, description="seconds to wait for Redis")
    redis_fallback: Literal["local", "reject"] = Field(
        default="local",
        description="while Redis does not answer: each gateway counts alone (local), or callers with limits get 503 "
        "(reject)",
    )
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(), description="proxies whose X-Forwarded-For is trusted: addresses or networks, separated by commas"
    )
    max_upload_bytes: int = Field(default=20 * MEBIBYTE, ge=1, description="bytes in a request's body")
    max_images: int = Field(default=32, ge=1, description="images in a request")
    max_pixels: int = Field(default=50_000_000, ge=1, description="pixels of an image, by its header")
    max_side: int = Field(default=16_384, ge=1, description="pixels of an image's longer side")
    free_pixels: int = Field(
        default=16_000_000,
        ge=1,
        description="pixels of an image, however few bytes it has; not for JPEG and one bit a pixel",
    )
    pixels_per_byte: int = Field(default=30, ge=1, description="further pixels for each byte of an image")
    min_side: int = Field(default=8, ge=1, description="pixels of an image's shorter side")
    header_timeout_s: float = Field(default=10, gt=0, description="seconds for a request's headers to arrive")
    upload_timeout_s: float = Field(default=30, gt=0, description="seconds for a body to arrive")
    min_upload_rate: int = Field(
        default=1000, ge=0, description="minimum bytes a second of a body; a slower one is rejected"
    )
    upload_window_s: float = Field(default=10, gt=0, description="seconds over which that rate is measured")
    max_request_timeout_s: float = Field(
        default=60, gt=0, description="longest `Request-Timeout` that a caller may set, in seconds"
    )
    max_buffered_bytes: int = Field(
        default=256 * MEBIBYTE, ge=1, description="bytes of all request bodies held at a time"
    )
    cache_bytes: int = Field(default=0, ge=0, description="bytes of the response cache; 0 turns it off")
    shared_memory_dir: Path = Field(
        default=shared_image.FOLDER,
        description="folder in memory where workers on this host read decoded images; set it for the workers too",
    )
    shared_memory_bytes: int = Field(
        default=32 * MEBIBYTE,
        ge=0,
        description="bytes of decoded images in that folder; images without room are sent in the request, with 0 all",
    )
    decode_processes: int = Field(
        default_factory=usable_cores,
        ge=1,
        description="processes that decode large images, and as many for small ones",
    )
    decode_cpu_s: int = Field(
        default=10, ge=1, description="seconds of CPU time to decode one image, or to paint a large mask"
    )
    encode_threads: int = Field(
        default_factory=usable_cores, ge=1, description="threads that write small images' masks, and base64"
    )
    # Below JOB_QUEUE_SIZE in model_archive.py, so that the gateway rejects first, with Retry-After.
    max_in_flight: int = Field(default=64, ge=1, description="images that wait for a model or are in it")
    batches_in_flight: int = Field(
        default=2,
        ge=1,
        description="batches at the model server for each worker process; the others wait in the gateway",
    )
    readiness_interval_s: float = Field(default=1, gt=0, description="seconds between two checks of the workers")
    probe_interval_s: float = Field(default=30, gt=0, description="seconds between two probe images to a model")
    ready: Literal["any", "all"] = Field(default="any", description="how many models /readyz needs to be 200")
    drain_s: float = Field(default=0, ge=0, description="seconds to keep serving after SIGTERM, while /readyz is 503")
    graceful_timeout_s: int = Field(default=30, ge=1, description="seconds after that for requests in flight to end")
    keep_alive_s: int = Field(default=75, ge=1, description="seconds that an idle connection stays open")

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if self.max_in_flight < self.max_images:
            raise ValueError("max_in_flight is below max_images: a full request would always be rejected")
        if self.max_buffered_bytes < self.max_upload_bytes:
            raise ValueError("max_buffered_bytes is below max_upload_bytes: a full body would always be rejected")
        ports = [each for each in (self.port, self.admin_port, self.grpc_port) if each]
        if len(set(ports)) < len(ports):
            raise ValueError("port, admin_port and grpc_port must differ")
        if self.jwt_keys and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError(
                "jwt_keys needs jwt_issuer and jwt_audience: otherwise tokens for other services would be accepted"
            )
        if self.jwt_keys.startswith("http://"):
            raise ValueError("jwt_keys must not be an http URL: an attacker in the network could replace the keys")
        if self.gateway_workers > 1 and 0 in (self.port, self.grpc_port):
            raise ValueError("gateway_workers needs ports: with port 0, each process would choose its own")
        if "*" in self.cors_origins and len(self.cors_origins) > 1:
            raise ValueError("cors_origins contains * and other origins: * already allows all")
        _ = self.server_addresses
        return self

    def per_process(self, processes: int) -> Self:
        """Return the settings of one of so many gateway processes on a host.

        The host's capacity is divided, but a full request must still fit into one process. Each process gets twice its
        part of the batches, because connections and their work are never spread evenly.
        """
        parts = {
            "max_in_flight": max(self.max_images, math.ceil(self.max_in_flight / processes)),
            "max_buffered_bytes": max(self.max_upload_bytes, math.ceil(self.max_buffered_bytes / processes)),
            "batches_in_flight": min(self.batches_in_flight, math.ceil(2 * self.batches_in_flight / processes)),
            "decode_processes": math.ceil(self.decode_processes / processes),
            "encode_threads": math.ceil(self.encode_threads / processes),
            "cache_bytes": self.cache_bytes // processes,
            "shared_memory_bytes": self.shared_memory_bytes // processes,
        }
        return self.model_copy(update=parts)

    @property
    def shutdown_timeout_s(self) -> float:
        """Seconds that a process may take to end after SIGTERM."""
        return self.drain_s + self.graceful_timeout_s + SHUTDOWN_MARGIN_S

    @property
    def server_addresses(self) -> tuple[ServerAddress, ...]:
        """The model servers. Raises `ValueError` if not each of them has both URLs."""
        inference, management = (_words(urls) for urls in (self.inference_url, self.management_url))
        if not inference or len(inference) != len(management):
            raise ValueError("inference_url and management_url must have the same number of URLs, at least one")
        return tuple(map(ServerAddress, inference, management))

    @property
    def authenticates_callers(self) -> bool:
        """Whether callers need a key or a token."""
        return bool(self.keys.strip() or self.keys_file or self.jwt_keys)

    @property
    def quota(self) -> Quota:
        """The limits of callers whose keys set none."""
        return Quota(self.caller_rate, self.caller_burst, self.caller_concurrency)

    def decode_bytes(self, pixels: int) -> int:
        """Return the bytes of address space to decode an image of so many pixels; the memory in use is less."""
        return DECODE_BYTES_PER_PIXEL * min(pixels, self.max_pixels) + 2 * self.max_upload_bytes + DECODE_SLACK

    @property
    def image_limits(self) -> ImageLimits:
        """The limits that the decoder applies to an image."""
        return ImageLimits(
            max_pixels=self.max_pixels,
            max_side=self.max_side,
            min_side=self.min_side,
            free_pixels=self.free_pixels,
            pixels_per_byte=self.pixels_per_byte,
        )
