"""Client of resnest-service: `Client` for threads, `AsyncClient` for asyncio."""

from resnest_client.async_client import AsyncClient
from resnest_client.batches import Outcome
from resnest_client.client import Client
from resnest_client.problems import (
    AccessError,
    ClientError,
    LimitError,
    NoAnswerError,
    Problem,
    ProblemError,
    RequestError,
    ServiceError,
)
from resnest_client.retries import RetryPolicy
from resnest_client.uploads import images_in
from resnest_client.version import __version__

__all__ = [
    "AccessError",
    "AsyncClient",
    "Client",
    "ClientError",
    "LimitError",
    "NoAnswerError",
    "Outcome",
    "Problem",
    "ProblemError",
    "RequestError",
    "RetryPolicy",
    "ServiceError",
    "__version__",
    "images_in",
]
