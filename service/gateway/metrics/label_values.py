"""Name the values of labels that are not names of models, routes or callers."""

from typing import Final, Literal

CacheOutcome = Literal["hit", "coalesced", "miss"]
CACHE_OUTCOMES: Final[tuple[CacheOutcome, ...]] = ("hit", "coalesced", "miss")
LOSS_REASONS: Final = ("spinning", "killed", "crashed", "given_up")  # why a decode process ended during its job
SHADOW_OUTCOMES = ("compared", "failed", "dropped")
Transport = Literal["shared_memory", "bytes"]  # how an image reaches a worker
TRANSPORTS: Final[tuple[Transport, ...]] = ("shared_memory", "bytes")
CALLER_DEADLINE: Final = "caller_deadline_exceeded"  # the outcome of an image whose caller set a shorter deadline
RETRY_OUTCOMES = ("answered", "failed")
RestartCause = Literal["process", "server"]  # one worker process, or its whole model server
RESTART_CAUSES: Final[tuple[RestartCause, ...]] = ("process", "server")
# Statuses of predictions whose series exist from the start, so that `rate()` counts the first of each.
STATUSES = ("200", "429", "500", "502", "503", "504")
# Routes of probes, whose 503 are no callers' problems.
PROBES: Final = frozenset(("/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/v2/models/{name}/ready"))

STAGES = ("upload", "decode", "queue", "inference", "encode")
