"""What the gateway records of a request as spans: nothing, unless traces are on.

`Tracing` is the side that costs nothing. `service.gateway.metrics.request_spans` has the other one, which needs
opentelemetry-sdk.
"""

import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any, Final, Protocol, Self, TypeVar

Value = TypeVar("Value")
Work = Callable[[], Coroutine[Any, Any, Value]]
ExemplarOf = Callable[[], dict[str, str] | None]


class AttemptTrace(Protocol):
    """The span of one exchange of an image with a model server; `carrier` has it for the worker (`traceparent`)."""

    carrier: Mapping[str, str]

    def end(self, error: BaseException | None = None) -> None:
        """End the span, after the error that the image got, if any."""


class ImageTrace(Protocol):
    """The spans of one image at one model."""

    def attempt(self, replica: str, images: int) -> AttemptTrace:
        """Begin the span of an exchange with a replica, as one of so many images; the wait in queues is over."""


# The image that the current task sends to a model; None unless its request is traced.
IMAGE_TRACE: Final[ContextVar[ImageTrace | None]] = ContextVar("IMAGE_TRACE", default=None)


class ImageScope:
    """Where one image is at one model, for as long as the context is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        pass

    def bind(self, work: Work[Value]) -> Work[Value]:
        """Return `work`, which queues start in a task of their own, so that it finds `IMAGE_TRACE`."""
        return work


NO_STAGE: Final[AbstractContextManager[object]] = nullcontext()
NO_IMAGE_SCOPE: Final = ImageScope()


class Tracing:
    """Records no spans."""

    log_filter: logging.Filter | None = None  # adds the id of the current trace to log records
    exemplar: ExemplarOf | None = None  # returns the labels that lead from a measurement to its trace

    def stage(self, name: str) -> AbstractContextManager[object]:
        """Return the context of a stage of the current request."""
        return NO_STAGE

    def image(self, model: str) -> ImageScope:
        """Return the context of an image that waits for a model and is computed by it."""
        return NO_IMAGE_SCOPE

    def close(self) -> None:
        """Send the last spans."""


NO_SPANS: Final = Tracing()
