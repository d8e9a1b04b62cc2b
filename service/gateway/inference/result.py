"""The result of one image: what the models returned for it, or why there is nothing."""

from dataclasses import dataclass, replace
from typing import Final, Self

from service.errors import ServiceError
from service.gateway.metrics import CacheOutcome
from service.gateway.uploads.parsers.image_bodies import Upload
from service.tasks.base import DecodedFacts, ModelOutput

OVERHEAD_BYTES: Final = 1024  # of a cached result, besides its arrays


@dataclass(frozen=True)
class Result:
    """The result of one image: its facts, and for each model its output or the error that it failed with.

    `facts` is an error if the image could not be decoded; then there are no outputs. `decode_s` is the time until the
    image was decoded, in seconds. `digest` is empty if the response cache is off or the upload is an error.
    """

    upload: Upload
    facts: DecodedFacts | ServiceError
    outputs: tuple[ModelOutput | ServiceError, ...] = ()
    decode_s: float = 0.0
    digest: bytes = b""
    cache_outcome: CacheOutcome = "miss"

    @property
    def failure(self) -> ServiceError | None:
        """The error of the image if no model returned an output, else None."""
        if isinstance(self.facts, ServiceError):
            return self.facts
        failures = [output for output in self.outputs if isinstance(output, ServiceError)]
        return failures[0] if len(failures) == len(self.outputs) else None

    @property
    def stages(self) -> dict[str, float]:
        """The seconds of each stage. If there are several models, those of the slowest."""
        outputs = [output for output in self.outputs if isinstance(output, ModelOutput)]
        return {
            "decode": self.decode_s,
            "queue": max((output.queue_s for output in outputs), default=0.0),
            "inference": max((output.inference_s for output in outputs), default=0.0),
        }

    @property
    def is_complete(self) -> bool:
        """Whether no part of the result failed."""
        return not any(isinstance(part, ServiceError) for part in (self.facts, *self.outputs))

    def cacheable(self) -> Self | None:
        """Return the result as a later hit returns it: without the upload, its times 0. None if any part failed.

        Its arrays are copies. Those of an output are views of the response to a whole batch, which they would keep in
        memory.
        """
        if not self.is_complete:
            return None
        outputs = [_without_batch(output) for output in self.outputs if isinstance(output, ModelOutput)]
        return replace(self, upload=Upload(b""), outputs=tuple(outputs), decode_s=0.0)

    def size(self) -> int:
        """Return the bytes of the arrays, plus `OVERHEAD_BYTES`."""
        outputs = [output for output in self.outputs if isinstance(output, ModelOutput)]
        return OVERHEAD_BYTES + sum(array.nbytes for output in outputs for array in output.arrays.values())


def _without_batch(output: ModelOutput) -> ModelOutput:
    """Return the output with arrays of its own, and without the times of its batch."""
    arrays = {name: array.copy() for name, array in output.arrays.items()}
    for array in arrays.values():
        array.setflags(write=False)  # as the views are: several requests share a cached array
    return replace(output, arrays=arrays, inference_s=0.0, queue_s=0.0)
