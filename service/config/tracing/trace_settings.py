"""The setting that turns traces on, for gateways and workers."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class TraceSettings(BaseSettings):
    """Whether spans are sent. An instance reads the environment when it is created."""

    model_config = SettingsConfigDict(env_prefix="RESNEST_", frozen=True, extra="ignore")

    traces: Literal["off", "otlp"] = Field(
        default="off",
        description="otlp sends the spans of requests to a collector; OpenTelemetry's own variables, such as "
        "OTEL_EXPORTER_OTLP_ENDPOINT, say where and how many; needs resnest-service[otel]. Set it for the workers too.",
    )
