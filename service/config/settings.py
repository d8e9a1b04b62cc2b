"""What an operator may set, each by an environment variable with the prefix `RESNEST_`."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, IPvAnyNetwork, SecretStr, StringConstraints, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.config.api_keys import MAX_LIMIT, MIN_RATE, Quota
from service.config.cores import usable_cores
from service.imaging.decoder import ImageLimits

MEBIBYTE = 1 << 20

# Measured: 19 for a lossless WebP, the most of all formats and modes.
DECODE_BYTES_PER_PIXEL = 20
DECODE_SLACK = 256 * MEBIBYTE  # stacks and arenas of a decoder's own threads, of which little is used

END_SPARE_S = 15.0  # for what comes after the last answer


def _split(names: object) -> object:
    return _words(names) if isinstance(names, str) else names


def _words(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


# Asymmetric ones alone: a key set is public, and with HS256 whoever can verify can sign.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
# As a browser writes it: no path, no user, no port that is the scheme's own.
Origin = Annotated[
    str,
    StringConstraints(
        pattern=r"^(\*|https?://[a-z0-9.-]+(:[1-9][0-9]{0,4})?|https?://\[[0-9a-f:]+\](:[1-9][0-9]{0,4})?)$"
    ),
]


@dataclass(frozen=True)
class ServerAddress:
    """Where a server's two doors are, each `http://host:port` or `unix:/path`; a host may have several addresses."""

    inference: str
    management: str

    @property
    def host(self) -> str | None:
        """The name that is looked up; none for sockets."""
        return urlsplit(self.inference).hostname if not self.inference.startswith("unix:") else None


class Settings(BaseSettings):
    """The gateway's settings; the environment is read when one is made."""

    model_config = SettingsConfigDict(env_prefix="RESNEST_", frozen=True)

    model_store: Path = Field(default=Path("model_store"), description="the folder of the model folders")
    models: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(), description="the models to serve, by commas; where empty, all of the store whose weights are known"
    )
    default_models: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(),
        description="the models that answer where none is named, by commas, one for each task; where a task has none, "
        "the first of `models`, or by name",
    )
    traffic_file: Path | None = Field(
        default=None,
        description="shares of each model's versions in its traffic, as TOML; read again when it changes",
    )
    inference_url: str = Field(
        default="http://127.0.0.1:8080",
        description="inference doors of the model servers, each http://host:port or unix:/path, by commas; every "
        "address of a host is a server, and hosts are looked up again every five seconds",
    )
    management_url: str = Field(
        default="http://127.0.0.1:8081", description="their management doors, as many and in the same order"
    )
    host: str = Field(default="127.0.0.1", description="the address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="the port to listen on")
    gateway_workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="gateway processes that share the port, and most of the limits below, between them",
    )
    admin_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="a port for administrators alone, without a key for /metrics, which port then no longer serves",
    )
    admin_host: str = Field(default="", description="the address that admin_port listens on; unset, host")
    cors_origins: Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(), description="sites whose pages may call: https://app.example by commas, or * alone for all of them"
    )
    keys: str = Field(default="", description="API keys, a line each as `resnest-service keys new` writes it")
    keys_file: Path | None = Field(default=None, description="a file of such lines; read again when it changes")
    allow_no_keys: bool = Field(
        default=False, description="serve beyond loopback though callers are not asked who they are"
    )
    jwt_keys: str = Field(
        default="", description="whose tokens (JWT) to accept: the key set of its issuer, a file or an https:// address"
    )
    jwt_issuer: str = Field(default="", description="what `iss` of a token must be")
    jwt_audience: str = Field(default="", description="what `aud` of a token must be, or hold")
    jwt_algorithms: Annotated[tuple[Algorithm, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=("RS256", "ES256"), min_length=1, description="by which a token may be signed, by commas"
    )
    jwt_scope_claim: str = Field(default="scope", description="the claim with a caller's scopes, a list or words")
    jwt_leeway_s: float = Field(default=30, ge=0, le=300, description="seconds that an issuer's clock may be off")
    caller_rate: float | None = Field(
        default=None, ge=MIN_RATE, le=MAX_LIMIT, description="pictures a second of a caller whose key has no rate"
    )
    caller_burst: int | None = Field(
        default=None,
        ge=1,
        le=MAX_LIMIT,
        description="pictures at once, of which that rate gives back; unset, a second's or max_images, which is more",
    )
    caller_concurrency: int | None = Field(
        default=None, ge=1, le=MAX_LIMIT, description="requests at one time of a caller whose key has no such limit"
    )
    redis_url: SecretStr = Field(
        default=SecretStr(""), description="redis://... or rediss://..., where gateways share callers' limits"
    )
    redis_timeout_s: float = Field(default=0.1, gt=0, description="seconds to wait for Redis")
    redis_fallback: Literal["local", "reject"] = Field(
        default="local",
        description="while Redis does not answer: each gateway counts alone, or refuses callers with limits (503)",
    )
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(), description="proxies whose X-Forwarded-For is believed: addresses or networks, by commas"
    )
    max_upload_bytes: int = Field(default=20 * MEBIBYTE, ge=1, description="bytes in the body of a request")
    max_images: int = Field(default=32, ge=1, description="pictures in a request")
    max_pixels: int = Field(default=50_000_000, ge=1, description="pixels of a picture, by its header")
    max_side: int = Field(default=16_384, ge=1, description="pixels of a picture's longer side")
    free_pixels: int = Field(
        default=16_000_000, ge=1, description="pixels of a picture however few bytes it has, but for JPEG and one bit"
    )
    pixels_per_byte: int = Field(default=30, ge=1, description="pixels more than that for each byte of a picture")
    min_side: int = Field(default=8, ge=1, description="pixels of a picture's shorter side")
    upload_timeout_s: float = Field(default=30, gt=0, description="seconds for a body to arrive")
    min_upload_rate: int = Field(default=1000, ge=0, description="bytes a second below which a body is given up")
    upload_window_s: float = Field(default=10, gt=0, description="seconds over which that rate is taken")
    max_request_timeout_s: float = Field(default=60, gt=0, description="seconds that a caller may allow a request")
    header_timeout_s: float = Field(default=10, gt=0, description="seconds for a request's headers to arrive")
    max_buffered_bytes: int = Field(
        default=256 * MEBIBYTE, ge=1, description="bytes of all the bodies held at one time"
    )
    cache_bytes: int = Field(default=0, ge=0, description="bytes of answers kept for pictures that come again; 0: none")
    decode_processes: int = Field(
        default_factory=usable_cores,
        ge=1,
        description="processes that decode large pictures, and as many for small ones",
    )
    decode_cpu_s: int = Field(
        default=10, ge=1, description="seconds of a processor that decoding, or painting a large mask, may take"
    )
    encode_threads: int = Field(
        default_factory=usable_cores, ge=1, description="threads that write small pictures' masks, and base64"
    )
    # Below packaging.JOB_QUEUE_SIZE, so that the gateway refuses first, with Retry-After.
    max_in_flight: int = Field(default=64, ge=1, description="pictures waiting for a model or in it")
    batches_in_flight: int = Field(
        default=2, ge=1, description="batches a worker process that are at the model server; others wait here, in turn"
    )
    readiness_interval_s: float = Field(default=1, gt=0, description="seconds between two looks at the workers")
    probe_interval_s: float = Field(default=30, gt=0, description="seconds between two test pictures to a model")
    drain_s: float = Field(default=0, ge=0, description="seconds to serve on, not ready, after SIGTERM")
    graceful_timeout_s: int = Field(default=30, ge=1, description="seconds for requests in flight to end after that")
    keep_alive_s: int = Field(default=75, ge=1, description="seconds that an idle connection is kept open")

    @model_validator(mode="after")
    def _serves_somebody(self) -> Self:
        if self.max_in_flight < self.max_images:
            raise ValueError("max_in_flight is below max_images: a full request would never be let in")
        if self.max_buffered_bytes < self.max_upload_bytes:
            raise ValueError("max_buffered_bytes is below max_upload_bytes: a full body would never be let in")
        if self.admin_port is not None and self.admin_port == self.port:
            raise ValueError("admin_port is port: it is to be another")
        if self.jwt_keys and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError("jwt_keys needs jwt_issuer and jwt_audience: else tokens for other services would do")
        if self.jwt_keys.startswith("http://"):
            raise ValueError("jwt_keys is http: whoever is between could put keys of its own there")
        if self.gateway_workers > 1 and self.port == 0:
            raise ValueError("gateway_workers needs a port: each process would choose one of its own")
        if "*" in self.cors_origins and len(self.cors_origins) > 1:
            raise ValueError("cors_origins names * and others: * is everybody")
        _ = self.places
        return self

    def part(self, of: int) -> Self:
        """What one of `of` processes with one host and one model server between them may take.

        What is asked of one process must still fit into it. Of batches each has twice its part, because connections,
        and the work on them, are never spread evenly.
        """
        parts = {
            "max_in_flight": max(self.max_images, math.ceil(self.max_in_flight / of)),
            "max_buffered_bytes": max(self.max_upload_bytes, math.ceil(self.max_buffered_bytes / of)),
            "batches_in_flight": min(self.batches_in_flight, math.ceil(2 * self.batches_in_flight / of)),
            "decode_processes": math.ceil(self.decode_processes / of),
            "encode_threads": math.ceil(self.encode_threads / of),
            "cache_bytes": self.cache_bytes // of,
        }
        return self.model_copy(update=parts)

    @property
    def time_to_end_s(self) -> float:
        """Seconds that a process may take to end after SIGTERM."""
        return self.drain_s + self.graceful_timeout_s + END_SPARE_S

    @property
    def places(self) -> tuple[ServerAddress, ...]:
        """Where the model servers are. Raises `ValueError` where not every one has both doors."""
        inference, management = (_words(doors) for doors in (self.inference_url, self.management_url))
        if not inference or len(inference) != len(management):
            raise ValueError("inference_url and management_url name different numbers of doors, or none")
        return tuple(map(ServerAddress, inference, management))

    @property
    def asks_callers(self) -> bool:
        """Whether callers must say who they are."""
        return bool(self.keys.strip() or self.keys_file or self.jwt_keys)

    @property
    def quota(self) -> Quota:
        """What callers may send whose keys do not say."""
        return Quota(self.caller_rate, self.caller_burst, self.caller_concurrency)

    def decode_bytes(self, most: int) -> int:
        """The address space for decoding a picture of at most so many pixels, which is more than what is used of it."""
        return DECODE_BYTES_PER_PIXEL * min(most, self.max_pixels) + 2 * self.max_upload_bytes + DECODE_SLACK

    @property
    def image_limits(self) -> ImageLimits:
        """The limits that `images.decode` holds a picture against."""
        return ImageLimits(
            max_pixels=self.max_pixels,
            max_side=self.max_side,
            min_side=self.min_side,
            free_pixels=self.free_pixels,
            pixels_per_byte=self.pixels_per_byte,
        )
