"""Every metric of the gateway, with its readers."""

from service.gateway.metrics.definitions import Metrics
from service.gateway.metrics.label_values import (
    CALLER_DEADLINE,
    LOSS_REASONS,
    PROBES,
    STAGES,
    TRANSPORTS,
    CacheOutcome,
    RestartCause,
    Transport,
)
from service.gateway.metrics.tracing import NO_SPANS, Tracing

__all__ = [
    "CALLER_DEADLINE",
    "LOSS_REASONS",
    "NO_SPANS",
    "PROBES",
    "STAGES",
    "TRANSPORTS",
    "CacheOutcome",
    "Metrics",
    "RestartCause",
    "Tracing",
    "Transport",
]
