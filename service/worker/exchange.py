"""What a worker exchanges with the gateway: frames with images, and frames with outputs or a failure."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from service.config.log_settings import LogSettings
from service.config.logs import Logs
from service.errors import DeadlineExceeded, Internal
from service.models.cards import CardError, ModelCard
from service.tasks import frame
from service.tasks.frame import Array, Runtime, UnpackedFrame
from service.worker.batches.batch import BatchedOutput

log = logging.getLogger("service.worker")

INTERNAL: Final = Internal.code()
NO_IMAGE: Final = "The request is no frame with an image."


class RejectedImageError(ValueError):
    """A request that is not computed, and the code to report: that of `Internal` where gateway and worker disagree."""

    def __init__(self, detail: str, code: str = INTERNAL) -> None:
        super().__init__(detail)
        self.code = code


class ExpiredImageError(RejectedImageError):
    """An image whose deadline passed before a pass began with it."""

    def __init__(self) -> None:
        super().__init__("The deadline passed before the image's pass began.", DeadlineExceeded.code())


def opened(request: dict[str, Any]) -> list[UnpackedFrame | RejectedImageError]:
    """Return the frames in a request's body, or a refusal where the body is something else."""
    try:
        return [*frame.unpack_all(request["body"])]
    except (KeyError, TypeError, ValueError):
        return [RejectedImageError(NO_IMAGE)]


def reply(
    outcome: BatchedOutput | Exception,
    resident: int | None,
    runtime: Runtime | None = None,
    *,
    draining: bool = False,
    identity: str | None = None,
) -> bytes:
    """Return the frame of one image's outcome.

    It has the resident memory of this process in bytes, what runs the model and the model's `identity`, if known. It
    says whether the worker is `draining`.
    """
    if isinstance(outcome, RejectedImageError):
        return failure(str(outcome), outcome.code)
    if isinstance(outcome, Exception):
        return failure("The model failed on this image.")
    head = {
        "ok": True,
        "batch": outcome.batch,
        "inference_ms": round(outcome.inference_ms, 3),
        "worker_bytes": resident,
    }
    facts = runtime._asdict() if runtime else {}
    named = {"identity": identity} if identity is not None else {}
    flags = {name: True for name, holds in (("halved", outcome.is_halved), ("draining", draining)) if holds}
    try:
        return frame.pack({**head, **facts, **named, **flags}, outcome.arrays)
    except ValueError:
        log.exception("the outputs cannot be sent")
        return failure("The model's outputs cannot be sent.")


def check_types(card: ModelCard, outputs: Mapping[str, Sequence[Array]]) -> None:
    """Raise `CardError` if a model's outputs, one array for each image, have types that a frame cannot hold."""
    types = {name: arrays[0].dtype.name for name, arrays in outputs.items()}
    if not frame.DTYPES.issuperset(types.values()):
        raise CardError(f"{card.name}: its outputs are {types}; a frame holds only {', '.join(sorted(frame.DTYPES))}")


def failure(detail: str, code: str = INTERNAL) -> bytes:
    """Return the frame of a failure. It is never the caller's fault: the gateway has validated the image."""
    return frame.pack({"ok": False, "code": code, "detail": detail})


def log_to_standard_error() -> Logs:
    """Log to standard error, which TorchServe logs as warnings; it logs standard output below that."""
    return Logs("worker", LogSettings(), keeps_format=True)
